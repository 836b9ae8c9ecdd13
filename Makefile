# Plain `make` prints the targets. Every path here is relative, so a checkout may lie in a folder
# whose name has spaces.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.PHONY: help setup system servers demo cluster quick lint check test cover diagrams sim bench nightly mutants evidence lock clean all

# PYTHON=... chooses the interpreter of a new .venv; LOCK_FLAGS=--upgrade makes `lock` take newer versions.
PYTHON ?=
LOCK_FLAGS ?=

VENV_PYTHON := .venv/bin/python
# Stamps: what they stand for is done again only when a lock or pyproject.toml is newer.
RUNTIME := .venv/.runtime-installed
DEV := .venv/.dev-installed
MUTANTS := .venv/.mutants-installed

PIP_INSTALL := $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check
PYTEST := $(VENV_PYTHON) -m pytest
# A process for each core; the tests of one file share what they have started.
ABREAST := -n auto --dist loadfile
UV_COMPILE := $(VENV_PYTHON) -m uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(DEV) ## Make .venv and install the locked packages, for work on the project

demo: $(RUNTIME) ## Run the travel example: a trip is booked, a step fails, everything is undone
	@$(VENV_PYTHON) -m examples.travel.demo

cluster: $(DEV) ## Run three coordinators on three members of etcd, and kill one in the middle of the work
	@$(VENV_PYTHON) -m examples.cluster.demo

quick: $(DEV) system servers ## Run the fast tests (below a minute)
	$(PYTEST) --hypothesis-profile=ci -m "not slow"

lint: $(DEV) ## Check format, lint, types and layers
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m mypy
	.venv/bin/lint-imports

check: lint system ## Check all that needs no run of the product: lint, sizes, layers, documents
	$(PYTEST) tests/docs

test: $(DEV) system servers lint ## Run everything that a change must pass
	$(PYTEST) --hypothesis-profile=ci $(ABREAST)

cover: $(DEV) system servers ## Run the tests, print what none of them reached, and fail below 90 % of lines and branches
	$(PYTEST) --hypothesis-profile=ci $(ABREAST) --cov --cov-report=term-missing --cov-fail-under=90

diagrams: $(RUNTIME) ## Draw the pictures in diagrams/ again
	$(VENV_PYTHON) -m diagrams.make

sim: $(RUNTIME) ## Run the simulation, two minutes; SEEDS=20000 says how much of it, SEED=7 tells one seed
	$(VENV_PYTHON) -m fsm_saga.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20000))

bench: $(RUNTIME) ## Measure this machine
	.venv/bin/fsm-saga bench

nightly: $(DEV) system ## Try at full length what `make test` tries in part: two hours; PART=kills does one thing
	$(VENV_PYTHON) -m tests.evidence.nightly $(PART)

mutants: $(MUTANTS) ## Change the code in thousands of places, and see a test fail each time: two hours; PART=plan does one part
	$(VENV_PYTHON) -m tests.mutants $(if $(PART),--part $(PART))

evidence: $(DEV) ## Write docs/evidence.md from its results; FIGURES="kills zoo" makes them again first
	$(VENV_PYTHON) -m tests.evidence $(or $(FIGURES),--render)

lock: $(VENV_PYTHON) ## Resolve the dependencies of pyproject.toml into the lock files
	$(PIP_INSTALL) "uv>=0.9"
	$(UV_COMPILE) $(LOCK_FLAGS) --group build pyproject.toml --output-file requirements.lock
	$(UV_COMPILE) $(LOCK_FLAGS) --group dev pyproject.toml --output-file requirements-dev.lock
	$(UV_COMPILE) $(LOCK_FLAGS) --constraint requirements-dev.lock --group mutants pyproject.toml \
	  --output-file requirements-mutants.lock

clean: ## Remove .venv and everything that the targets above made
	rm -rf .venv .coverage htmlcov build dist
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find fsm_saga tests examples diagrams -name __pycache__ -prune -exec rm -rf {} +

all: diagrams test demo ## Draw, test, then run the example

# --- the environment -----------------------------------------------------------------------------

$(VENV_PYTHON):
	@for candidate in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	      2>/dev/null; then \
	    echo "Making .venv with $$("$$candidate" --version)."; \
	    "$$candidate" -m venv .venv; \
	    exit $$?; \
	  fi; \
	done; \
	echo "No .venv was made: none of python3, python3.14 ... python3.11 is Python 3.11 or newer with" >&2; \
	echo "venv and pip (Debian: apt-get install python3-venv). Install one, or name it: make PYTHON=..." >&2; \
	exit 1

# The build backend is in the lock, so nothing that is not pinned is fetched or run.
$(RUNTIME): requirements.lock pyproject.toml | $(VENV_PYTHON)
	$(PIP_INSTALL) --require-hashes -r requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(VENV_PYTHON)
	$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $(RUNTIME) $@

$(MUTANTS): requirements-mutants.lock $(DEV)
	$(PIP_INSTALL) --require-hashes -r requirements-mutants.lock
	@touch $@

# Tests that need `dot` or the font fail without them, they never skip; so here we only try.
system: ## Install what the drawing tests need of the system: Graphviz and a Chinese font
	@missing=""; \
	command -v dot >/dev/null 2>&1 || missing="graphviz"; \
	fc-list :lang=zh 2>/dev/null | grep -q . || dpkg -s fonts-wqy-microhei >/dev/null 2>&1 \
	  || missing="$$missing fonts-wqy-microhei"; \
	[ -n "$$missing" ] || exit 0; \
	as_root=""; able=no; \
	if command -v apt-get >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ]; then able=yes; \
	  elif sudo -n true 2>/dev/null; then able=yes; as_root="sudo -n"; fi; \
	fi; \
	if [ $$able = yes ]; then \
	  echo "Installing of the system:" $$missing; \
	  $$as_root apt-get update -qq; \
	  $$as_root env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -qq --yes --no-install-recommends $$missing >/dev/null && exit 0; \
	fi; \
	echo "****************************************************************************" >&2; \
	echo "MISSING ON THIS SYSTEM:" $$missing >&2; \
	echo "They could not be installed from here (no apt-get, no right, or no network)." >&2; \
	echo "Tests that draw with them will FAIL. Install them, then run this again." >&2; \
	echo "****************************************************************************" >&2

# A missing server fails the tests that ask for it, with the same words; so here we only try.
servers: $(RUNTIME) ## Find etcd and Redis, or unpack them below build/servers
	@$(VENV_PYTHON) -m examples.cluster.binaries || true
