# The commands of Paybeat. A fresh Debian with python3 (3.11 or newer), git and make is enough.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; \
	done || echo python3)
BIN := .venv/bin
TEST_PROCESSES ?= 3
TESTS ?=
SCENARIO ?= payment
HISTORIES ?= 10000

.PHONY: help run demo trouble test test-contract coverage lint bench docs chaos clean lock setup setup-dev

help:  ## Show the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 15

setup:
	@$(PYTHON) -m sandbox.setup requirements.lock

setup-dev:
	@$(PYTHON) -m sandbox.setup requirements-dev.lock

run: setup  ## Bring the whole system up here; Ctrl-C takes it down
	@$(BIN)/python -m sandbox.run

demo: setup  ## Bring it up, pay an invoice, show each step, take it down (SCENARIO=dunning)
	@$(BIN)/python -m sandbox.run -- $(BIN)/python -m sandbox.demo $(SCENARIO)

trouble: setup  ## Leave what `make run` runs something for an operator to see to (docs/runbook.md)
	@test -f var/run/env || { echo "make run does not run in this checkout." >&2; exit 2; }
	@set -a; . var/run/env; $(BIN)/python -m sandbox.demo trouble

test: setup-dev  ## Run the tests (TESTS=path narrows them)
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadgroup $(TESTS)

test-contract: setup-dev  ## Run the contract of gateways at the providers' own test modes
	@CONTRACT_OWN_TEST_MODE=1 $(BIN)/python -m pytest -p no:socket -p no:valkey -o addopts="-ra" \
		tests/contract

coverage: setup-dev  ## Run the tests and judge what they reach: 90 %, and all of money, ladder and moves
	@rm -rf var/coverage
	@mkdir -p var/coverage
	@$(BIN)/coverage run -m pytest -n $(TEST_PROCESSES) --dist loadgroup
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=90
	@$(BIN)/coverage report --include=$(REACHED_WHOLE) --fail-under=100

REACHED_WHOLE := models/money.py,models/states.py,models/transactions.py,models/invoices.py,$\
	models/totals.py,models/credit_notes.py,models/refunds.py,models/ledger.py,schedules/ladder.py,schedules/declines.py

lint: setup-dev  ## Check style, types and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup-dev  ## Measure, side by side with the peers
	@$(BIN)/python -m benchmarks

docs: setup-dev  ## Draw the state machines and tables into docs/payments.md
	@$(BIN)/python -m docs.generate

chaos: setup-dev  ## Run 10,000 random histories (HISTORIES=n; goes on where it ended), 20 restarts, relays
	@PAYBEAT_RESTARTS=20 PAYBEAT_PAYMENTS=1000 $(BIN)/python -m pytest \
		tests/faults/test_restarts.py tests/faults/test_load.py
	@PAYBEAT_RELAY_LONG=1 $(BIN)/python -m pytest tests/faults/relay
	@PAYBEAT_WHOLE_BOOK=1 $(BIN)/python -m pytest tests/web/test_summary.py
	@PAYBEAT_ANALYTICS_LONG=1 $(BIN)/python -m pytest tests/faults/test_collector.py
	@PAYBEAT_LONG=1 $(BIN)/python -m pytest tests/tasks/test_year.py
	@PAYBEAT_FUZZ_EXAMPLES=20 $(BIN)/python -m pytest tests/web/api/test_schemathesis.py
	@$(BIN)/python -m tests.simulation.chaos --histories $(HISTORIES) --processes $(TEST_PROCESSES)

clean:  ## Remove what the other commands made, the virtual environment included
	@$(PYTHON) -m sandbox.clean

lock: setup-dev  ## Write the lock files anew from setup.cfg
	@$(BIN)/uv pip compile $(LOCK_FLAGS) --extra sandbox --output-file requirements.lock
	@$(BIN)/uv pip compile $(LOCK_FLAGS) --extra sandbox --extra dev --output-file requirements-dev.lock

LOCK_FLAGS := setup.cfg --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11 --universal
