# `make escape` and `make test` work on a fresh clone with Python >= 3.11 and make only.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PRESET ?= quick
WORKERS ?= $(if $(ARGS),0,auto)
OUT ?= results
# CONSTRAINTS= takes the newest versions of everything instead.
CONSTRAINTS ?= constraints.txt
# A tenth of the suite, by time: what leans most on how jax, flax and optax behave.
NEWEST := tests/_engine tests/_krylov tests/test_batching.py tests/test_coupling.py tests/transforms/test_contract.py \
	tests/transforms/test_step.py tests/saddle/test_curvature.py tests/nn/test_functional_view.py

# Compiled programs are kept between runs, outside the clone: a second run starts 2.5 to 4 times faster.
export JAX_COMPILATION_CACHE_DIR ?= $(or $(HOME),/tmp)/.cache/jaxopt_course
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: help setup escape test setup-newest newest versions nightly lint types format docs notebooks report benchmarks accelerators clean
.NOTPARALLEL: # Every target may have to set up the one environment.

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# An installation that was cut short leaves `unfinished` behind, or no stamp at all: the next one then
# starts from an empty environment. Otherwise only what has changed is installed.
define install
@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or sys.exit( \
	f"jaxopt_course needs Python >= 3.11, $(PYTHON) is {v}: try make PYTHON=python3.12")'
@echo "setting up $(VENV): some minutes the first time"
@test -e $(VENV)/experiments.stamp -a ! -e $(VENV)/unfinished || $(PYTHON) -m venv --clear $(VENV)
@touch $(VENV)/unfinished
$(BIN)/python -m pip install --quiet --no-input $(addprefix --constraint ,$(CONSTRAINTS)) --editable '.[$(1)]'
@rm $(VENV)/unfinished
endef

# Made anew whenever what they install changes.
$(VENV)/experiments.stamp: pyproject.toml constraints.txt
	$(call install,experiments)
	@touch $@

$(VENV)/tests.stamp: pyproject.toml constraints.txt
	$(call install,tests)
	@touch $@ $(VENV)/experiments.stamp

$(VENV)/dev.stamp: pyproject.toml constraints.txt
	$(call install,dev)
	@touch $@ $(VENV)/tests.stamp $(VENV)/experiments.stamp

setup: $(VENV)/dev.stamp ## virtual environment with everything a developer needs

escape: $(VENV)/experiments.stamp ## the main figure: gradient descent against perturbed gradient descent
	$(BIN)/python -m experiments run escape --preset $(PRESET) --out $(OUT)

test: $(VENV)/dev.stamp ## the whole test suite, doctests included; ARGS="tests/saddle -k classify" for a part
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile $(ARGS)

setup-newest: $(VENV)/tests.stamp

newest: $(VENV)/tests.stamp ## a tenth of the suite; PYTHON=python3.13 CONSTRAINTS= VENV=.venv313 for the newest versions
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile $(NEWEST)

versions: $(VENV)/dev.stamp ## the whole suite, and if it passes, docs/versions.md says with which versions
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile --write-versions

nightly: $(VENV)/dev.stamp ## long fuzzing and paper-size runs
	XLA_FLAGS= $(BIN)/python -m pytest -m nightly --timeout=3600 $(ARGS)

lint: $(VENV)/dev.stamp ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## pyrefly
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

format: $(VENV)/dev.stamp ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## the documentation site in docs/_build/html, warnings being errors
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

notebooks: $(VENV)/dev.stamp ## the notebooks for Jupyter and Colab, made from their scripts
	$(BIN)/python notebooks/convert.py

report: $(VENV)/experiments.stamp ## every experiment, then one static site from all results in $(OUT)
	$(BIN)/python -m experiments run all --preset $(PRESET) --out $(OUT); code=$$?; \
	$(BIN)/python -m experiments report --out $(OUT) && test $$code -le 1 # 1: a claim does not hold

benchmarks: $(VENV)/dev.stamp ## every side-by-side timing; prints ratios
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# In an environment of its own: 2 GB with both compilers. The plugin's packages without what they need:
# drivers and CUDA's libraries have nothing to compile for.
accelerators: ACCELERATORS := .venv-accelerators
accelerators: ## compile everything for TPUs and GPUs that need not be there; ARGS="--only escape"
	@test -e $(ACCELERATORS)/ready || { \
		$(PYTHON) -m venv --clear $(ACCELERATORS) && \
		$(ACCELERATORS)/bin/python -m pip install --quiet --no-input --editable . && \
		$(ACCELERATORS)/bin/python -m pip install --quiet --no-input "jax[tpu]" && \
		$(ACCELERATORS)/bin/python -m pip install --quiet --no-input --no-deps \
			jax-cuda13-plugin jax-cuda13-pjrt && touch $(ACCELERATORS)/ready; }
	JAX_PLATFORMS=cpu $(ACCELERATORS)/bin/python -W ignore benchmarks/accelerators.py --compile \
		$(or $(ARGS),--write)

clean: ## remove the virtual environment and caches (results stay)
	rm -rf $(VENV) .venv-accelerators .pytest_cache .ruff_cache .hypothesis
