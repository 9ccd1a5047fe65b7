# `make demo` and `make test` do all their own set-up, in .venv; run again, they only do what is left to do.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint $(VENV)/constraints.txt

.PHONY: help venv demo test lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    install into $(VENV), then run an antenna from CAD parts and ethanol with a trained SchNet"
	@echo "make test    install what the tests need, then run them (MINDSCI_MIRROR=folder adds those on upstream data)"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make format  let ruff format the code and mend what it can"
	@echo "make clean   remove $(VENV), caches and the demo's results"

# torch first, in the version named: left to itself pip may choose another build, with gigabytes of CUDA packages.
# The constraint keeps every later step at that version.
$(VENV)/torch.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mindsci needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing $(TORCH) (200 MB)"
	$(PIP) install --quiet "$(TORCH)"
	$(BIN)/python -c 'from importlib.metadata import version; print("torch==" + version("torch"))' \
		> $(VENV)/constraints.txt
	@touch $@

# An editable install follows the code by itself; only another list of packages or entry points needs pip again.
$(VENV)/mindsci.stamp: $(VENV)/torch.stamp setup.cfg setup.py pyproject.toml
	@echo "installing mindsci and what it needs"
	$(INSTALL) --editable '.[cad]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/mindsci.stamp
	@echo "installing what the tests need"
	$(INSTALL) --editable '.[cad,test]'
	@touch $@

$(VENV)/lint.stamp: $(VENV)/mindsci.stamp
	@echo "installing ruff, mypy, import-linter"
	$(INSTALL) --editable '.[cad,lint]'
	@touch $@

venv: $(VENV)/mindsci.stamp

# A run refuses a folder that exists, and a demo replaces its own results only.
demo: $(VENV)/mindsci.stamp
	rm -rf runs/demo-antenna runs/demo-ethanol
	$(BIN)/mindsci run docs/examples/inverted_f_antenna.toml --out runs/demo-antenna
	$(BIN)/mindsci run docs/examples/ethanol_md.toml --out runs/demo-ethanol
	@echo
	@echo "antenna:  $(CURDIR)/runs/demo-antenna   S-parameters (Touchstone), |S11| plot, fields (PNG, VTK)"
	@echo "ethanol:  $(CURDIR)/runs/demo-ethanol   trajectories (H5MD, extended XYZ), temperature and energy plot"
	@ls runs/demo-antenna runs/demo-ethanol

# ARGS="tests/unit -k hub" runs a part.
test: $(VENV)/test.stamp
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/lint.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	rm -rf runs/demo-antenna runs/demo-ethanol
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
