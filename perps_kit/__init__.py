__version__ = "0.0.1"
"An open research kit for crypto perpetual futures: from the notebook to the live signal."
from importlib.metadata import version

__version__ = version("perps_kit")
