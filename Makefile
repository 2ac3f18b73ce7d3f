# One door for people and for CI: `make` lists what there is.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
# More words for the program behind a target: make test ARGS="-k journal".
ARGS ?=

# The first interpreter that starts: a version manager may list names that it does not have.
# The embedded engine is published for Python 3.11, 3.12 and 3.13.
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c '$(SUITABLE)' >/dev/null 2>&1 && echo $$name && break; done)

# Where every branch can be tried, every branch is.
PURE := nightrate/domain/*,nightrate/dialects/*,nightrate/work/schedule.py

.PHONY: help setup demo test check fuzz sim faults bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make .venv with the project and its tools, all pinned
	@echo "Ready: $(RUN)/nightrate"

$(READY): pyproject.toml requirements-dev.lock
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(SUITABLE)' 2>/dev/null; then \
		echo "Nightrate needs Python 3.11, 3.12 or 3.13, and $(or $(PYTHON),none of the usual names) is not one." >&2; \
		echo "Install one of them, or name yours: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	@"$(RUN)/python" -c '$(SUITABLE)' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "Installing the locked packages into $(VENV): about a minute, once."
	@"$(RUN)/python" -m pip install --quiet --no-deps --require-hashes -r requirements-dev.lock
	@"$(RUN)/python" -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## run a real batch on the embedded model, through Google's SDK
	@$(RUN)/python examples/demo.py $(ARGS)

test: $(READY) ## run all tests; none needs a service of others
	@$(RUN)/pytest $(ARGS)

check: $(READY) ## what CI runs: format, lint, types, imports, tests, coverage
	@echo "Format, lint, types and imports:"
	@$(RUN)/ruff format --check --quiet
	@$(RUN)/ruff check --quiet
	@$(RUN)/mypy nightrate tests $(wildcard bench benchmarks examples scripts)
	@said=$$($(RUN)/lint-imports --no-logo 2>&1) || { echo "$$said"; exit 1; }
	@echo "Tests:"
	@$(RUN)/pytest --cov --cov-report= $(ARGS)
	@echo "Branches covered in all rooms: $$($(RUN)/coverage report --format=total) %"
	@echo "Branches covered where all must be:"
	@$(RUN)/coverage report --include='$(PURE)' --fail-under=100

fuzz: $(READY) ## send 50,000 generated requests to real servers: minutes
	@$(RUN)/python -m tests.fuzz $(ARGS)

sim: $(READY) ## simulate crashes of several processes: make sim SEED=12, or SEEDS=0-999
	@$(RUN)/python -m nightrate.testing.simulation \
		$(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

faults: $(READY) ## break disks, processes and engines, and count what was lost: hours
	@$(RUN)/python -m tests.faults $(ARGS)

bench: $(READY) ## measure, and print ratios
	@$(RUN)/python -m bench $(ARGS)

lock: $(READY) ## pin the newest packages that pyproject.toml allows
	@$(RUN)/python -m pip install --quiet uv
	@printf '%s\n' \
		'# Every package of the development environment, pinned with the digests of its files.' \
		'# `make lock` writes this file from pyproject.toml.' > $(VENV)/lock
	@$(RUN)/uv pip compile --quiet pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade >> $(VENV)/lock
	@mv $(VENV)/lock requirements-dev.lock

clean: ## remove the environment and what the tools left behind; data stays
	@rm -rf $(VENV) build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
