# The two commands a new user needs are `make demo` and `make test`; each sets up all it needs.
SHELL := /bin/bash
BIN := .venv/bin
# Tests of one file stay together: they share a server or an exchange.
TEST_JOBS ?= 2
unexport PYTHONDONTWRITEBYTECODE
export PYTHONUNBUFFERED := 1

.PHONY: setup demo test acceptance lint ui bench soak questdb lock clean docs

# The first of these that runs, has the right version and can make a virtual environment; `make PYTHON=...` names another.
# A name that is found on the PATH need not run: pyenv's shims fail where the version is not selected.
setup:
	@for python in $(if $(PYTHON),"$(PYTHON)",python3.12 python3.11 python3); do \
	    "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	    && exec "$$python" infra/setup.py --python "$(PYTHON)"; \
	done; echo "setup: Python 3.11 or 3.12 with its venv module is needed (Debian: python3-venv), or make PYTHON=..." >&2; exit 2

demo: setup
	$(BIN)/ghtrader demo

test: setup
	rm -rf .cache/coverage && mkdir -p .cache/coverage
	$(BIN)/coverage run -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder tests/integration tests/unit --durations=40
	$(BIN)/coverage combine -q && $(BIN)/coverage report

# The demos one by one, because they measure; the rest side by side.
acceptance: setup
	$(BIN)/python -m pytest -o faulthandler_timeout=3300 tests/acceptance/test_*demo*.py -v
	$(BIN)/python -m pytest -o faulthandler_timeout=3300 -n $(TEST_JOBS) --dist loadfile $(filter-out $(wildcard tests/acceptance/test_*demo*.py),$(wildcard tests/acceptance/test_*.py)) -v --durations=30
	FUZZ_MESSAGES=1000000 $(BIN)/python -m pytest tests/integration/runtime/test_fuzz.py -k hostile -v

lint: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports

ui: setup
	$(BIN)/ghtrader up --home var/demo

bench: setup
	$(BIN)/python -m tests.benchmarks

# SEEDS=100000 make soak: as many stories of the trading core as one asks.
soak: setup
	$(BIN)/python -m tests.soak

questdb: setup
	$(BIN)/python infra/questdb/run.py

# Writes requirements.lock anew from pyproject.toml, without any address of a registry.
lock:
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --extra deep pyproject.toml --no-header -o requirements.lock

clean:
	rm -rf .venv .cache var

# Writes the generated pages of docs/reference and env.example anew.
docs: setup
	$(BIN)/python -m ghtrader.reference_docs
