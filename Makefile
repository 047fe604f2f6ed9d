# Everything a person does with this repository. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
LOCAL := $(PYTHON) -m deploy.local
# What `make logs` shows: `make logs NAME=router FOLLOW=1`.
NAME ?=
FOLLOW ?=
YES ?=
FUZZ_S ?= 900
# Options of the router's benchmark: `make bench-router BENCH='--only non-stream --peers vllm-router'`.
BENCH ?= --write
# Options of the marts' benchmark: `make bench-marts MARTS='--sizes 1,5'`.
MARTS ?= --write
# Options of the close's benchmark: `make bench-closing CLOSING='--organizations 1000 --rows 200000'`.
CLOSING ?= --write
# Options of the faults: `make faults FAULTS='--first 7 --seeds 1'`.
FAULTS ?= --seeds 200
# Options of the budgets: `make budgets BUDGETS='--first 7 --seeds 1'`.
BUDGETS ?= --seeds 200
# Options of the parity: `make parity PARITY='--requests 60'`.
PARITY ?= --requests 2000 --write

.PHONY: help up down status logs psql reset test test-router test-e2e test-rest test-fast test-services fuzz bench bench-router bench-marts bench-closing faults budgets parity schema check

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up:  ## install what is missing, start everything, answer and bill one request
	@deploy/local/bootstrap.sh app
	@$(LOCAL) up

down:  ## stop every process
	@deploy/local/bootstrap.sh app
	@$(LOCAL) down

status logs psql reset: | $(PYTHON)

$(PYTHON):
	@echo "nothing is installed here yet: run 'make up' first" >&2; exit 1

status:  ## what runs, since when, and whether it is well
	@$(LOCAL) status

logs:  ## the last lines of every log; NAME=router for one, FOLLOW=1 to go on
	@$(LOCAL) logs $(NAME) $(if $(FOLLOW),--follow)

psql:  ## SQL as the owner of the database
	@$(LOCAL) psql

reset:  ## down, and delete databases, journal, logs and keys: YES=1
	@$(LOCAL) reset $(if $(YES),--yes)

test: test-services  ## the whole suite against real services, vLLM and a browser
	@$(MAKE) --no-print-directory --jobs=2 test-router test-e2e test-rest

# Two at a time, because each waits more than it computes: for vLLM to load, for a process to come back.
# All but the longest show what they found when they are done, so that reports do not mix.
SHOWN_LATER = > .local/$@.log 2>&1; found=$$?; cat .local/$@.log; exit $$found

test-router:
	@$(PYTHON) -m pytest tests/integration/router

test-e2e:
	@$(PYTHON) -m pytest tests/e2e $(SHOWN_LATER)

test-rest:
	@$(PYTHON) -m pytest tests/architecture tests/unit tests/integration --ignore=tests/integration/router $(SHOWN_LATER)

test-fast: test-services  ## the suite without tests/e2e
	@$(MAKE) --no-print-directory --jobs=2 test-router test-rest

test-services:  ## fetch what the tests need: packages, servers, a browser
	@deploy/local/bootstrap.sh dev
	@$(LOCAL) test-services

fuzz: test-services  ## schemathesis over both APIs for FUZZ_S seconds (default 900)
	@FUZZ_S=$(FUZZ_S) $(PYTHON) -m pytest -s tests/integration/router/test_schema.py tests/integration/router/test_schema_inference.py

bench: test-services  ## keys, lists and filters with 10,000 organizations, and the router beside others; 20 minutes
	@$(PYTHON) -m tests.bench.keys
	@$(PYTHON) -m tests.bench.tenancy
	@$(PYTHON) -m tests.bench.router $(BENCH)

bench-router: test-services  ## the router beside others alone; about 15 minutes, BENCH='--only ...' for a part
	@$(PYTHON) -m tests.bench.router $(BENCH)

bench-marts: test-services  ## marts at 1, 5, 10 and 50 M rows, beside SQL by hand; half an hour, 35 GB, MARTS='--sizes 1,5' for less
	@$(PYTHON) -m tests.bench.marts $(MARTS)

bench-closing: test-services  ## a month of 10,000 organizations closed; about 10 minutes
	@$(PYTHON) -m tests.bench.closing $(CLOSING)

faults: test-services  ## 200 seeds of faults under load, half an hour; FAULTS='--seeds 5' for fewer
	@$(PYTHON) -m tests.bench.faults $(FAULTS)

budgets: test-services  ## 500 clients of three routers spend 200 budgets, half an hour; BUDGETS='--seeds 5' for fewer
	@$(PYTHON) -m tests.bench.budgets $(BUDGETS)

parity: test-services  ## 2,000 mixed requests to a real vLLM, one in ten left in the middle; rows beside its counters, 6 minutes
	@$(PYTHON) -m tests.bench.vllm_parity $(PARITY)

schema: test-services  ## write warehouse/schema.sql anew from the migrations
	@$(PYTHON) -m tests.schema_dump

check:  ## lint, types, import contracts, SQL, shell
	@deploy/local/bootstrap.sh dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/sqlfluff lint warehouse dbt
	.venv/bin/shellcheck deploy/local/*.sh deploy/images/*.sh .ci/run
