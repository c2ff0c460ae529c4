# Everything starts here: `make demo` on a fresh machine, `make test` on a fresh clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.assay-ready
# cpu or gpu, by what is there; override with `make setup ACCELERATOR=cpu`
ACCELERATOR ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU && echo gpu || echo cpu)
# tests on engines run in one process, all others beside them in a second one
WORKERS := -n 2
TORCH := torch==2.13.0+cpu
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
# where the lock file of the CPU build finds torch's +cpu wheel
LOCK_TORCH ?= --torch-backend cpu
LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: help setup demo test test-all test-gpu check format bench lock wheel clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## create .venv and install everything (CPU or CUDA build, by what is there)

$(READY): pyproject.toml
	@echo "setup: python environment in $(VENV), $(ACCELERATOR) build"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(ACCELERATOR),gpu)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip install --quiet --no-config --python $(BIN)/python -e ".[gpu,dev]"
else
# The +cpu wheel from pip's own configuration where it has one, else from PyTorch's CPU index, which is asked for this one package alone.
	$(BIN)/pip install --quiet "$(TORCH)" 2>/dev/null || $(BIN)/pip install --quiet "$(TORCH)" --index-url $(TORCH_CPU_INDEX)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[cpu,dev]"
endif
	$(BIN)/assay doctor --warm-up
	@touch $(READY)

demo: $(READY) ## run the quickstart study and say where its results are
	$(BIN)/assay demo

check: $(READY) ## ruff, mypy --strict, import rules, bandit
	$(BIN)/ruff check platform jobs tests
	$(BIN)/ruff format --check platform jobs tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive --severity-level medium platform jobs

test: $(READY) ## unit and integration tests (real engines), at most 15 minutes on two cores
	$(BIN)/python -m pytest tests $(WORKERS)

test-all: $(READY) ## the same and the slow and chaos tests, meant to take less than an hour on two idle cores
	$(BIN)/python -m pytest tests $(WORKERS) -m "not study and not gpu and not network"

test-study: $(READY) ## tests of more than two minutes each, hours in all: see tests/bench/README.md
	$(BIN)/python -m pytest tests -m study

test-gpu: $(READY) ## what only a GPU machine can show
	$(BIN)/python -m pytest tests -m gpu

bench: $(READY) ## the measured figures of tests/bench/README.md
	$(BIN)/python tests/bench/run_all.py

format: $(READY) ## format the code
	$(BIN)/ruff format platform jobs tests
	$(BIN)/ruff check --fix platform jobs tests

lock: $(READY) ## pin what the machines of a cluster install, for both builds
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK) --extra cpu $(LOCK_TORCH) --output-file jobs/requirements-cpu.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK) --no-config --extra gpu --output-file jobs/requirements-gpu.txt

wheel: $(READY) ## dist/assay-*.whl, which the nodes of a cluster install
	$(BIN)/uv build --quiet --wheel --out-dir dist .

clean: ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
