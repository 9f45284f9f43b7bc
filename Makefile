# Every target sets up what it needs from nothing: Python 3.11+, pip and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Waiting OpenMP threads must not burn the core that another process needs (a step got 5 times slower beside one).
export OMP_WAIT_POLICY ?= passive
# pip compiles what it installs on one core; this does it on all, and leaves out what no command loads, or few.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --no-compile
SELDOM := .*/tests?|transformers/models|torch/testing|sympy/physics|openai|sklearn|pip|setuptools|mypyc?|narwhals|networkx
COMPILE = @echo 'compiling (half a minute)'; $(BIN)/python -m compileall -qq -j 0 -x 'site-packages/($(SELDOM))/' $(VENV)/lib || true  # some files are written for other Pythons
# Real data for the tests, where it is at hand; without it they are skipped with the reason.
ifneq ($(wildcard ../shared/data/.),)
export VISIFT_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test lint bench stress clean

demo: $(VENV)/.installed
	$(BIN)/visift demo --out runs/demo

# A process a core; a file's tests stay together, since they share what is slow to make, in conftest.py's order.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

stress: $(VENV)/.installed-all
	$(BIN)/python -m pytest -m stress

bench: $(VENV)/.installed-all
	@for script in $(filter-out bench/rig.py,$(wildcard bench/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) runs

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	$(INSTALL) -e .
	$(COMPILE)
	touch $@

# What the long counts and the speed tables compare with or run on, besides.
$(VENV)/.installed-all: $(VENV)/.installed-dev
	$(INSTALL) -e '.[dev,ray,onnx,trl,bench]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.made
	$(INSTALL) -e '.[dev]'
	$(COMPILE)
	touch $@ $(VENV)/.installed
