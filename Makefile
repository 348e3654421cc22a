# make demo   a released, verified dataset from sample partner exports, through the Dagster graph
# make ui     Dagster's pages and daemon over the same data, on http://localhost:3000, closed to other websites (ctdc ui)
# make test   the whole test suite
# make check  lint, and the tests that take seconds: before each commit
# make lint   formatting, lint and types
# make bench  time and measure counting, synthesis, evaluation, graph and release; rewrites benchmarks/REPORT.md
# make test-services  as root, what some tests need from Debian; without it they are skipped, and say so
# make setup  only the environment; the others do it when it is missing or the lock has changed

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FAST := $(addprefix tests/unit/,codebook counting ingestion interchange operations partners privacy quality storage synthesis) \
	tests/test_architecture.py tests/test_documentation.py
SERVICES := postgresql openssh-server chromium libreoffice-calc
export CTDC_HOME ?= $(CURDIR)/var
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: demo ui test check test-services lint bench setup

demo: $(STAMP)
	@$(BIN)/python demo.py

ui: $(STAMP)
	@$(BIN)/ctdc ui --port $(or $(PORT),3000)

test: $(STAMP)
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

check: lint
	@$(BIN)/python -m pytest -n 2 --dist loadscope $(FAST)

test-services:
	@[ "$$(id -u)" = 0 ] || { echo "Run as root, or: sudo apt-get install $(SERVICES)"; exit 1; }
	@apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SERVICES) >/dev/null

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo

bench: $(STAMP)
	@$(BIN)/python benchmarks/run.py $(ARGS)

setup: $(STAMP)

# Debian's python3 comes without venv; as root it is installed, otherwise the message says what to ask for.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } \
		|| { echo "$(PYTHON) has no venv module. Install it first: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(STAMP): requirements.lock pyproject.toml | $(BIN)/pip
	@echo "Setting up $(VENV) from requirements.lock ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/ctdc compile
	@touch $@
