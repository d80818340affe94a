# Everything a newcomer or the CI starts. `make` alone lists the targets.

PYTHON ?= python3
ARGS ?=
NOTEBOOK ?= $(firstword $(wildcard nbs/30_strategies/01_*.ipynb) nbs)

DEV := .envs/dev/bin
RUNNER := .envs/runner/bin

# Jupyter and IPython read and write inside the project, never in the user's home.
export JUPYTER_CONFIG_PATH := $(CURDIR)/tools/jupyter
export JUPYTER_CONFIG_DIR := $(CURDIR)/.cache/jupyter/config
export JUPYTER_DATA_DIR := $(CURDIR)/.cache/jupyter/data
export JUPYTER_RUNTIME_DIR := $(CURDIR)/.cache/jupyter/runtime
export IPYTHONDIR := $(CURDIR)/.cache/ipython
# Plots bring their JavaScript along instead of asking a CDN for it: notebooks work offline.
export BOKEH_RESOURCES := inline
# Without bytecode files every start would compile the libraries again.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help demo test lab docs bench lock export notebooks clean runner dev

help: ## list the targets
	@echo "perps_kit: from the notebook to the live signal"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: runner ## run the service on replayed sample data, page at http://127.0.0.1:8000/ (ARGS=--exit ends it with the data)
	@$(RUNNER)/perps-kit demo $(ARGS)

test: dev ## every check: export, notebooks, pytest, ruff, pyright, layers, arithmetic, wheel (ARGS="ruff pytest" for some)
	@$(DEV)/python tools/check.py $(ARGS)

lab: dev ## open JupyterLab on the strategy's notebook (NOTEBOOK=nbs/... for another)
	@$(DEV)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.default_url=/lab/tree/$(NOTEBOOK) $(ARGS)

docs: dev ## build the site into docs/_build/html, offline (ARGS=--serve shows it; later: perps-kit docs)
	@$(DEV)/python docs/build.py $(ARGS)

bench: dev ## run the benchmarks side by side with peers, table and JSON at the end
	@$(DEV)/python -m benchmarks $(ARGS)

export: dev ## write the modules in perps_kit/ from the notebooks in nbs/
	@$(DEV)/python tools/notebooks.py clean
	@$(DEV)/nbdev-export

notebooks: dev ## execute the notebooks in place and keep their small outputs (ARGS=nbs/... for some)
	@$(DEV)/python tools/notebooks.py run $(ARGS)

lock: ## write the lock files in requirements/ anew from settings.ini (ARGS=--upgrade for newer versions)
	@$(PYTHON) tools/bootstrap.py uv
	@$(PYTHON) tools/lock.py $(ARGS)

clean: ## remove caches and build products; environments and data stay
	@rm -rf build dist *.egg-info docs/_build _proc .cache .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	@find nbs perps_kit runners tests tools benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

runner dev:
	@$(PYTHON) tools/bootstrap.py $@
