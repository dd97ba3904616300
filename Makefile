# The two commands a new user needs are `make demo` and `make test`; each sets up all it needs.
SHELL := /bin/bash
BIN := .venv/bin
# Tests of one file stay together: they share a server or an exchange.
TEST_JOBS ?= 2
PYTEST = $(BIN)/python -m pytest
DEMOS = $(wildcard tests/acceptance/test_*demo*.py)
SEED ?= $(shell date +%F)
# Every file that marks tests with `sample`.
SAMPLED = $(shell grep -rlE '^(@|pytestmark.*)pytest\.mark\.sample' tests --include='test_*.py')
SAMPLE = FUZZ_MESSAGES=20000 $(PYTEST) -n $(TEST_JOBS) --dist worksteal --durations=15 -v --sample "$(SEED)"
unexport PYTHONDONTWRITEBYTECODE
export PYTHONUNBUFFERED := 1

.PHONY: setup demo test acceptance sample verify test-vendor lint ui bench bench-year soak questdb lock sbom clean docs

# The first of these that runs, has the right version and can make a virtual environment; `make PYTHON=...` names another.
# A name that is found on the PATH need not run: pyenv's shims fail where the version is not selected.
setup:
	@for python in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3); do \
	    "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	    && exec "$$python" infra/setup.py --python "$(PYTHON)"; \
	done; echo "setup: Python 3.11 or 3.12 with its venv module is needed (Debian: python3-venv), or make PYTHON=..." >&2; exit 2

demo: setup
	$(BIN)/ghtrader demo

test: setup
	$(PYTEST) -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder -m "not verify" tests/integration tests/unit --durations=40

# The demo by itself, because it measures; the rest side by side, and a sample of the matrices.
acceptance: setup
	$(PYTEST) -o faulthandler_timeout=3300 $(DEMOS) -v
	$(PYTEST) -n $(TEST_JOBS) --dist load -m acceptance $(filter-out $(DEMOS),$(wildcard tests/acceptance/test_*.py)) tests/verify --durations=10
	$(SAMPLE) $(filter-out $(DEMOS),$(SAMPLED))

# Another draw each day; SEED=... repeats one. The demo's report is checked where `make demo` left it.
sample: setup
	GHTRADER_DEMO_HOME=var/demo $(SAMPLE) $(SAMPLED)

# make verify PART="chaos fuzz" for some parts; a second call goes on where the first stopped (docs/develop/testing.md).
verify: setup
	$(BIN)/python -m tests.verify $(PART)

# The vendor's real service, with your TQSDK_USER and TQSDK_PASSWORD.
test-vendor: setup
	$(PYTEST) -n 0 tests/vendor -v -rs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: setup
	$(BIN)/ghtrader up --home var/demo

bench: setup
	$(BIN)/python -m tests.benchmarks

# Memory and time of training over 5 to 250 full days; YEAR="--days 5 20" for less (docs/develop/benchmarks.md).
bench-year: setup
	$(BIN)/python -m tests.benchmarks.year $(YEAR)

# SEEDS=100000 make soak: as many stories of the trading core as one asks.
soak: setup
	$(BIN)/python -m tests.soak

questdb: setup
	$(BIN)/python infra/questdb/run.py

# Writes the locks anew, from pyproject.toml, for uv itself and for the peer of the simulation of orders: wheels alone, with the
# sha256 of each for every machine and Python, without any address of a registry. UPGRADE=--upgrade for the newest versions,
# UPGRADE="-P numpy" for one.
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --only-binary :all: --no-header --quiet
lock: setup
	$(COMPILE) $(UPGRADE) --extra dev --extra deep pyproject.toml -o requirements.lock
	echo uv | $(COMPILE) $(UPGRADE) - -o infra/installer.lock
	echo hftbacktest==2.4.4 | $(COMPILE) $(UPGRADE) - -o infra/hftbacktest.lock

# What is installed, as a CycloneDX bill of materials: .cache/sbom.json.
sbom: setup
	mkdir -p .cache
	$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible --output-format JSON --validate --output-file .cache/sbom.json

clean:
	rm -rf .venv .cache var

# Writes the generated pages of docs/reference and env.example anew.
docs: setup
	$(BIN)/python -m ghtrader.reference_docs
