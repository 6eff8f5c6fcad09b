# `make setup` once, then `make check` while you work and `make test` before you hand anything in.
# Needs Python 3.11 or newer as python3 (or `make PYTHON=python3.12 ...`), and nothing else.

PYTHON ?= python3
PY := .venv/bin/python
TIMED := $(PY) tools/timed.py
JOBS ?= 2
MINUTES ?= 5
SEEDS ?= 5000
# The same for everybody, so that what a push breaks is the push's doing; `make simulate` draws others.
SEEDS_OF_A_PUSH ?= 5000
OTHER_PYTHONS := 3.12 3.13

# The rooms that need every branch tested, and what has to hold on every supported Python.
CORE_TESTS := $(wildcard tests/core tests/codec tests/definitions tests/retry)

# Steps that run side by side keep their lines together where this make can do that.
TOGETHER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.DEFAULT_GOAL := help
.PHONY: help setup demo toygres test check bench chaos simulate mutants rewritten core model interpreters lint types public contracts $(OTHER_PYTHONS:%=python-%)

help:
	@echo 'make setup         the virtual environment .venv with everything that the other targets need'
	@echo 'make demo          orders through a real SQLite ledger while their worker is killed again and again'
	@echo 'make toygres       the tests of examples/toygres, on real PostgreSQL servers; part of make test'
	@echo 'make check         lint, formatting, types and import contracts; no tests'
	@echo 'make test          everything that CI runs: check, core, model, interpreters, and all tests'
	@echo 'make core          the core'"'"'s tests, every branch covered'
	@echo 'make model         the exhaustive model: live runs equal replays'
	@echo 'make interpreters  core, codec, API and typing tests on Python $(OTHER_PYTHONS) too'
	@echo 'make chaos         everything that may go wrong, for MINUTES (5), with running totals'
	@echo 'make simulate      so many SEEDS (5000) of the simulation, on all cores; make test has 5000 that stay the same'
	@echo 'make mutants       every bug of tests/mutants/table.py is found by the simulation or a storage suite'
	@echo 'make bench         the workloads W1 to W8, beside the peers'

setup: .venv/.stamp

.venv/.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Perdure needs Python 3.11 or newer: make setup PYTHON=python3.12")'
	@$(PYTHON) -m tools.environments
	@$(PY) -m compileall -q src/perdure
	@touch $@

demo: setup
	@$(PY) -m examples.demo

# Among all tests in `make test`; by themselves here.
toygres: setup
	@$(TIMED) $@ $(PY) -m pytest -q -p no:cacheprovider -n $(JOBS) tests/toygres

bench: setup
	@$(PY) -m benchmarks

chaos: setup
	@$(PY) -m tests.chaos --minutes $(MINUTES)

simulate: setup
	@$(TIMED) $@ $(PY) -m perdure.testing.simulation --seeds $(SEEDS) $(if $(FIRST),--first $(FIRST)) --jobs $(JOBS)

mutants: setup
	@$(TIMED) $@ $(PY) -m tests.mutants --jobs $(JOBS)

check: setup
	@$(MAKE) --no-print-directory --keep-going -j $(JOBS) $(TOGETHER) lint types public contracts

lint: setup
	@$(TIMED) lint sh -c '$(PY) -m ruff check --quiet --output-format concise . && $(PY) -m ruff format --check --quiet .'

types: setup
	@$(TIMED) types $(PY) -m mypy

public: setup
	@$(TIMED) public-types $(PY) -m basedpyright

contracts: setup
	@$(TIMED) contracts .venv/bin/lint-imports --no-logo

# pytest rewrites every test's assertions, which takes longer than all else until the first test. Written down, that is
# work for once, and no longer for each of the suite's processes.
rewritten: export PYTHONDONTWRITEBYTECODE :=
rewritten: setup
	@$(TIMED) rewritten $(PY) tools/rewritten.py

core: export PYTHONDONTWRITEBYTECODE :=
core: setup
	@$(TIMED) core sh -c '$(PY) -m coverage run -m pytest -q -p no:cacheprovider $(CORE_TESTS) && $(PY) -m coverage report'

model: setup
	@$(TIMED) model $(PY) -m pytest -q -p no:cacheprovider tests/model -m model

interpreters: $(OTHER_PYTHONS:%=python-%)

$(OTHER_PYTHONS:%=python-%): python-%: setup
	@$(TIMED) $@ $(PY) -m tools.interpreters $*

# First what is over at once and what others build on, then the longest first, so that no core is idle at the end.
# The suite comes last and alone, so that its closing line is the last thing to read; of the core `core` has had it all.
# Each process begins with a part of it, so that most servers are started in one only, and takes from others at the end.
# It has one process more than there are cores, as tests that wait for servers and workers need none.
test: export PYTHONDONTWRITEBYTECODE :=
test: setup
	@$(MAKE) --no-print-directory --keep-going -j $(JOBS) $(TOGETHER) lint contracts rewritten model interpreters core public types
	@$(MAKE) --no-print-directory simulate SEEDS=$(SEEDS_OF_A_PUSH) FIRST=1
	@$(PY) -m pytest -q -rs -n $(shell expr $(JOBS) + 1) --dist worksteal $(CORE_TESTS:%=--ignore=%)
