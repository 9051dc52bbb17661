# Every target is a line that a person could type. `make help` prints this list.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help install servers run fleet test quick chaos lint types lock check bench docs fmt clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(BIN)/sharder: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# Programs are started hundreds of times, and where PYTHONDONTWRITEBYTECODE is set each would compile all that it imports.
.venv/compiled: $(BIN)/sharder
	$(BIN)/python -W ignore -m compileall -qq -j 0 .venv/lib || true
	touch $@

.venv-kits/bin/sharder: $(BIN)/sharder requirements-kits.lock
	test -x .venv-kits/bin/python || $(PYTHON) -m venv .venv-kits
	$(BIN)/uv pip sync --quiet --python .venv-kits/bin/python requirements-kits.lock
	$(BIN)/uv pip install --quiet --python .venv-kits/bin/python --no-deps --editable .
	touch $@

install: $(BIN)/sharder ## a virtual environment in .venv with the locked packages

servers: ## the servers that the tests start: Redis and PostgreSQL (Debian packages)
	bash deploy/dev/servers.sh

run: install ## a simulated AWS organisation, synced into DuckDB on this machine
	$(BIN)/python -m examples.aws.run

fleet: install servers ## the same on a local fleet: Redis, S3 server, two workers, a loader
	$(BIN)/python -m examples.fleet.run

test: install .venv-kits/bin/sharder .venv/compiled servers ## all tests, with real Redis, PostgreSQL and S3 servers
	$(BIN)/python -m compileall -q contracts examples loader sharder tests worker
	$(BIN)/python -m pytest $(TESTS) -n 2 --dist loadgroup --durations=15

quick: install .venv-kits/bin/sharder .venv/compiled ## the tests that take seconds
	$(BIN)/python -m pytest tests/unit tests/contract -n 2 --dist loadgroup -m "not slow"

SEEDS ?= 0 1 2 3
MINUTES ?= 5
chaos: install servers ## a fleet killed at random, by SEEDS, then runs back to back for MINUTES
	$(BIN)/python -m tests.chaos $(SEEDS)
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

lint: install ## ruff, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install ## mypy, strict
	$(BIN)/mypy
	$(BIN)/mypy tests/typing/third_party.py

lock: install ## the lock file agrees with pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --all-extras --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --extra plugins --group kits pyproject.toml -o requirements-kits.lock
	git diff --exit-code requirements.lock requirements-kits.lock

docs: install ## write the generated pages of docs/ again
	$(BIN)/python -m loader.reference docs/reference
	$(BIN)/python -m sharder.summary_reference docs/reference/summary.md
	$(BIN)/python -m worker.sources.aws.docs
	$(BIN)/python -m tests.docs_sources
	$(BIN)/python -m sharder.schemas docs/reference
	$(BIN)/python -m contracts.observe.page docs/reference/metrics.md
	UPDATE_DOCS=1 $(BIN)/python -m pytest -q tests/unit/test_cli.py -k reference_pages

check: lint types test ## what has to be green before a commit

bench: install servers ## measure against the hand-written limit and dlt, side by side
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip sync --quiet --python .venv-bench/bin/python requirements-bench.lock
	$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --no-deps --editable .
	.venv-bench/bin/python -m tests.bench

fmt: install ## format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the targets above made
	rm -rf .venv .venv-bench .venv-kits .sharder .mypy_cache .ruff_cache
