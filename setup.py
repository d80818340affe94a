"Everything that packaging needs to know stands in settings.ini; this file hands it to setuptools."
from configparser import ConfigParser
from pathlib import Path
from shutil import copytree

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
reader = ConfigParser(delimiters=["="])
reader.read(HERE / "settings.ini", encoding="utf-8")
meta = reader["DEFAULT"]


def lines(key: str) -> list[str]:
    return [line for line in meta.get(key, "").splitlines() if line.strip()]


class BuildWithSamples(build_py):
    "A wheel carries sample_data as perps_kit/sample_data, so that the demo runs from the wheel alone; a checkout reads it where it stands."

    def run(self) -> None:
        super().run()
        if not self.editable_mode and (HERE / "sample_data").is_dir():
            copytree(HERE / "sample_data", Path(self.build_lib) / "perps_kit" / "sample_data", dirs_exist_ok=True)


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
    classifiers=["Programming Language :: Python :: 3", "Framework :: AsyncIO", "Topic :: Office/Business :: Financial :: Investment"],
    python_requires=f">={meta['min_python']}",
    # Folders without an __init__.py, such as migrations, belong too, and so does every file in them: pages, notebooks, templates.
    packages=find_namespace_packages(include=["perps_kit", "perps_kit.*", "runners", "runners.*"], exclude=["*.__pycache__*"]),
    package_dir={"": "."},      # an editable install is then one line in a .pth file instead of an import hook
    package_data={"": ["*"]},
    exclude_package_data={"": ["*.pyc", "_modidx.py"]},
    install_requires=lines("requirements"),
    extras_require={**extras, "all": [line for wanted in extras.values() for line in wanted]},
    entry_points={
        "console_scripts": lines("console_scripts"),
        "papermill.engine": lines("papermill_engines"),
    },
    cmdclass={"build_py": BuildWithSamples},
    zip_safe=False,
)
