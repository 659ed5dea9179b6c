# The tasks of this repository; `make` alone lists them. Anything with more than
# a line of logic is a script in scripts/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTEST := $(BIN)/pytest
PACKAGES := clients/python server

# Set on the command line: make run ARGS="--port 6000", make test ARGS="-k cursor".
ARGS ?=
# Test processes; auto: one a core. 0: one, and none beside it (for a debugger).
WORKERS ?= auto
# Lane, seed and case of `make robustness`; a red run prints the line that repeats it.
LANE ?= long
SEED ?=
CASE ?=
# How long each fuzzer of `make fuzz` runs.
FUZZ_SECONDS ?= 600

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- environments ----------------------------------------------------------
# Files, so that the second `make run` starts at once: they are made again only
# when a lock, a package's metadata or the script itself has changed.

.venv/.stamp: requirements/dev.txt requirements/uv.txt scripts/setup.sh $(PACKAGES:%=%/pyproject.toml)
	@scripts/setup.sh .venv requirements/dev.txt $(PACKAGES)

.venv-proto/.stamp: requirements/proto.txt requirements/uv.txt scripts/setup.sh
	@scripts/setup.sh .venv-proto requirements/proto.txt

.PHONY: setup
setup: .venv/.stamp ## Make .venv: hashed requirements, both packages editable

# -- run -------------------------------------------------------------------

.PHONY: run
run: setup ## Start the server (ARGS="--help" lists its options)
	@exec $(BIN)/asteros serve $(ARGS)

# -- test ------------------------------------------------------------------

.PHONY: test
test: setup .venv-proto/.stamp ## Run the quick tests (ARGS="-k name", WORKERS=0 for one process)
	$(PYTEST) -m "not long and not fuzz and not clients" -n $(WORKERS) $(ARGS)
	@echo "left out: the clients in Go, TypeScript, Java and Rust, which are built first (make clients)"

.PHONY: robustness
robustness: setup ## Kill, starve and partition servers, up to 20 minutes (LANE=night SEED= CASE=)
	LANE=$(LANE) SEED=$(SEED) $(PYTEST) tests/robustness -m long --timeout 1200 $(if $(CASE),-k '$(CASE)') $(ARGS)

.PHONY: fuzz
fuzz: setup ## Run the fuzzers (FUZZ_SECONDS=600 of each, SEED=)
	FUZZ_SECONDS=$(FUZZ_SECONDS) SEED=$(SEED) $(PYTEST) tests -m fuzz --timeout 1200 $(ARGS)

.PHONY: clients
clients: setup .venv-proto/.stamp ## Build and test the clients of all languages whose toolchain is here
	$(PYTEST) tests/clients -m "clients or long" -rs $(ARGS)

.PHONY: bench
bench: setup ## Measure against the peers, about ten minutes
	$(BIN)/python -m bench $(ARGS)

.PHONY: bench-quick
bench-quick: setup ## The same once and short, about a minute
	$(BIN)/python -m bench --quick $(ARGS)

# -- check and fix ---------------------------------------------------------

.PHONY: check check-python check-types check-contract
check: check-python check-contract verify-proto check-types ## Lint, format, types, contract, generated code

check-python: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: setup
	$(BIN)/mypy

check-contract: .venv-proto/.stamp
	.venv-proto/bin/buf lint
	.venv-proto/bin/buf format --diff --exit-code
	scripts/breaking.sh

.PHONY: fix
fix: setup .venv-proto/.stamp ## Repair what `check` can repair by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	.venv-proto/bin/buf format --write

# -- generated -------------------------------------------------------------

.PHONY: proto
proto: .venv-proto/.stamp ## Generate the stubs and docs/openapi.json from proto/
	scripts/generate.sh
	@$(MAKE) openapi

.PHONY: openapi
openapi: setup ## Write docs/openapi.json from the stubs
	$(BIN)/python scripts/openapi.py

.PHONY: verify-proto
verify-proto: .venv-proto/.stamp setup ## Are the committed stubs and docs/openapi.json what proto/ gives?
	scripts/verify-proto.sh
	$(BIN)/python scripts/openapi.py --check

.PHONY: lock
lock: setup ## Write the hashed locks from requirements/*.in (ARGS=--upgrade for newer versions)
	scripts/lock.sh $(ARGS)

# -- clean -----------------------------------------------------------------

.PHONY: clean
clean: ## Remove what these targets made; never the server's data in .aster/
	rm -rf .venv .venv-proto .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	rm -rf clients/*/build clients/*/target clients/typescript/dist clients/typescript/node_modules
	rm -rf bench/build bench/results $(foreach package,$(PACKAGES),$(package)/build $(package)/dist $(package)/*.egg-info)
	find clients server tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
