# Nothing is assumed but make, a POSIX shell and a Python 3.12 or newer. `make help` lists what there is.
MAKEFLAGS += --no-builtin-rules --no-print-directory
PYTHON ?=
WORKERS ?= 2
BIN := .venv/bin

LATER := slow or e2e or crash
# pytest's exit code 5: no test was selected, as with ARGS='-k …' in one of the two rounds.

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-billing test test-long fuzz check bench docs catalogue lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done

setup:  ## .venv with the locked packages and lava itself; quick when nothing changed
	@PYTHON='$(PYTHON)' .ci/setup

demo: setup  ## the whole story on this machine: no key, no network, under 15 seconds
	@$(BIN)/lava demo

demo-billing: setup  ## a month of business on a test clock, in seconds; every figure against one worked by hand
	@$(BIN)/lava demo --billing

test: setup  ## the quick tests, then those that start processes; pass more with ARGS='-k …'
	$(BIN)/pytest -q -n $(WORKERS) -m "not ($(LATER) or long)" $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile -m "($(LATER)) and not long" $(ARGS) || [ $$? -eq 5 ]

test-long: setup  ## every test at full length: long properties, overspend and crash tests 20 times
	$(BIN)/pytest -q --long --timeout 3600 $(ARGS)

fuzz: setup  ## damaged answers for every wire format; ARGS='--inputs 1000000 --seed 2' or '--coverage' (atheris)
	$(BIN)/python -m tests.dialects.fuzz $(ARGS)

check: setup  ## format, lint, types, floors and doors
	@failed=0; for check in "ruff format --check" "ruff check" "mypy" "lint-imports --no-logo"; do \
	  echo "$$check"; $(BIN)/$$check || failed=1; \
	done; exit $$failed

bench: setup  ## our figures beside stock mitmdump's, in one run; ARGS='--help' tells more
	$(BIN)/python -m bench.run $(ARGS)

docs: setup  ## write docs/cli.md from the commands' own help
	$(BIN)/python -m tests.house.cli_page

catalogue: setup  ## write providers/catalogue.json and the table of docs/providers.md from the provider files
	$(BIN)/python -m tests.house.catalogue_page

COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header $(ARGS) pyproject.toml

lock: setup  ## compile requirements/*.txt from pyproject.toml; ARGS=--upgrade takes newer releases
	@for minor in 3.12 3.13; do \
	  $(COMPILE) --python-version $$minor --group dev -o requirements/dev-$$minor.txt && \
	  $(COMPILE) --python-version $$minor -c requirements/dev-$$minor.txt -o requirements/run-$$minor.txt || exit 1; \
	done

clean:  ## remove .venv and everything that tools leave behind
	rm -rf .venv build dist .bench .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find lava_proxy tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
