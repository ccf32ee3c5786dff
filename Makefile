# CI and the README call these and nothing else.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test check ui bench chaos constraints docs clean

help:  ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready  ## Make the virtual environment with the tested set

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sluiceway needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## Raw data to a registered model: the digits pipeline
	@dvc repro register@digits
	@sluiceway show digits

test: setup  ## All tests
	@pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

check: setup  ## Lint, format, types, import directions
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-cache

ui: setup  ## The MLflow UI, on this machine only
	@sluiceway ui

bench: setup  ## The figures in the docs
	@python benchmarks/spine.py

chaos: setup  ## Faults put into trainings, and what became of them
	@python benchmarks/chaos.py --write

constraints: setup  ## Write the tested set anew from the environment
	@{ echo "# The tested set, whole: what CI and \`make\` install. Ranges are in pyproject.toml; \`make constraints\` writes this file anew."; \
	   pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt

docs: setup  ## Write the references of options from the code
	@python -m sluiceway.stages.params > docs/params.md
	@python -m sluiceway.stages.params jobs > docs/job-options.md

clean:  ## Remove the environment and what was made; raw data and MLflow's store stay
	rm -rf .venv .sluiceway models reports data/validated data/shards
