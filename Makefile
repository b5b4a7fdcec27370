# Every target sets up what it needs; Python >= 3.11 and make are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow check bench poorlink soak chaos fuzz clean lock schemas

help:  ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Kentong needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP)  ## Create .venv and install the locked dependencies

demo: setup  ## Run hub and three nodes, send alerts, kill processes, tell the story
	$(BIN)/kentong demo

test: setup  ## Run the test suite on all cores, but for the slow and the long tests
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not soak" $(PYTEST_ARGS)

slow: setup  ## Run the slow tests on all cores: whole commands, processes killed at each step, HTTP at random
	$(BIN)/python -m pytest -n auto --dist loadfile -m "slow and not soak" $(PYTEST_ARGS)

check: setup  ## Lint, format, types, import floors, bill of materials, known weaknesses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python deploy/sbom.py build/kentong.cdx.json
	$(BIN)/python deploy/audit.py

bench: setup  ## Measure speed and memory in about five minutes; FULL=1 for the published counts
	$(BIN)/python -m tests.bench

poorlink: setup  ## Measure a node on one core with 256 MiB behind 64 kbit/s, 800 ms, 5 % loss
	$(BIN)/python -m tests.bench.poorlink

SEED := $(or $(SEED),$(shell date +%s))
ALERTS := $(if $(filter 1,$(FULL)),10000,600)
KILLS  := $(if $(filter 1,$(FULL)),200,30)
SERVERS ?= 1

# Has a wheel for some systems only.
ATHERIS := $(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r requirements-fuzz.lock

soak: setup  ## Run the long tests in full: 10,000 alerts past an offline member, a file of 1 GiB, 100 histories
	@$(ATHERIS) || echo "atheris has no wheel for this system: coverage guides no inputs"
	KENTONG_SOAK_ALERTS=10000 KENTONG_SOAK_ROWS=2000 KENTONG_SOAK_MIB=1024 KENTONG_MODEL_EXAMPLES=100 KENTONG_FUZZ_SECONDS=900 $(BIN)/python -m pytest -m soak --ignore tests/chaos $(PYTEST_ARGS)

chaos: setup  ## Kill, cut, stall and fill a region of six: SEED=n repeats a run, SERVERS=3 is on a cluster, FULL=1 is the long one
	$(if $(filter-out 0 1,$(FULL)),$(error FULL is 1 or 0, not "$(FULL)"))
	$(if $(filter 1 3,$(SERVERS)),,$(error SERVERS is 1 or 3, not "$(SERVERS)"))
	@echo "SEED=$(SEED) SERVERS=$(SERVERS): $(ALERTS) alerts, $(KILLS) kills"
	KENTONG_CHAOS_SEED=$(SEED) KENTONG_CHAOS_ALERTS=$(ALERTS) KENTONG_CHAOS_KILLS=$(KILLS) KENTONG_CHAOS_SERVERS=$(SERVERS) \
	  $(BIN)/python -m pytest -q -s tests/chaos $(PYTEST_ARGS)

fuzz: setup  ## Let coverage guide inputs into the wire formats (SECONDS=n, PARSERS="...")
	@$(ATHERIS) || { echo "atheris has no wheel for this system: fuzz on Linux x86_64 with CPython 3.11 to 3.13; tests/fuzz runs without it"; exit 2; }
	$(BIN)/python -m tests.fuzz.guided $(or $(SECONDS),300) $(PARSERS)

schemas: setup  ## Regenerate schemas/json, docs/openapi.json and the text template
	$(BIN)/python -m schemas.generate
	$(BIN)/python -m broker.api.description
	$(BIN)/pybabel -q extract -F broker/locale/extract.cfg --no-default-keywords -k "say:1c,2" -k "phrase:1c,2" --omit-header --no-location --sort-output -o broker/locale/kentong.pot broker/cli schemas/doubts.py

LOCKING := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

lock: setup  ## Resolve the dependencies anew into requirements.lock and the image's (needs uv)
	uv pip compile $(LOCKING) \
	  --extra dev --extra pkcs11 --extra postgresql --output-file requirements.lock pyproject.toml
	uv pip compile $(LOCKING) --extra pkcs11 --extra postgresql --constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml
	echo "hatchling>=1.27" | uv pip compile $(LOCKING) --constraint requirements.lock --output-file deploy/build.lock -
	uv pip compile $(LOCKING) --no-deps --output-file requirements-fuzz.lock requirements-fuzz.in

clean:  ## Remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz .coverage htmlcov build dist *.egg-info
