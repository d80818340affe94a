"Everything that packaging needs to know stands in settings.ini; this file hands it to setuptools."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
reader = ConfigParser(delimiters=["="])
reader.read(HERE / "settings.ini", encoding="utf-8")
meta = reader["DEFAULT"]


def lines(key: str) -> list[str]:
    return [line for line in meta.get(key, "").splitlines() if line.strip()]


extras = {name: lines(f"{name}_requirements") for name in ("research", "postgres", "dev")}
readme = HERE / "README.md"

setup(
    name=meta["lib_name"],
    version=meta["version"],
    description=meta["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    author=meta["author"],
    license=meta["license"],
    keywords=meta["keywords"].split(),
    python_requires=f">={meta['min_python']}",
    packages=find_packages(include=["perps_kit", "perps_kit.*", "runners", "runners.*"]),
    package_data={"perps_kit": ["py.typed"], "runners": ["**/*.ipynb", "**/*.html", "**/*.css", "**/*.js", "**/*.svg", "**/*.ini", "**/*.mako", "**/*.yaml", "sample_data/**/*"]},
    install_requires=lines("requirements"),
    extras_require={**extras, "all": sum(extras.values(), [])},
    entry_points={
        "console_scripts": lines("console_scripts"),
        "papermill.engine": ["inprocess=runners.jobs.engine:InProcessEngine"],
    },
    zip_safe=False,
)
