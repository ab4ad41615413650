# Everything runs in .venv, which `make env` builds from requirements-dev.lock.
# Arguments: make demo ARGS=--once, make test ARGS="-k ring" JOBS=1, make faults N=10, make env PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
N ?= 1
JOBS ?= 3
BIN := .venv/bin
SOURCES := state streams agents reports deploy tests

.DEFAULT_GOAL := help
.PHONY: abuse help env demo test faults security check format soak bench bench-peers profile lock audit sbom docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: ## Build or refresh .venv from requirements-dev.lock
	@$(PYTHON) deploy/local/bootstrap.py env

demo: env ## Run the whole system here, with its own Kafka and Redis (ARGS=--once: one round, then stop)
	@$(BIN)/orgpulse demo $(ARGS)

# A log line with a traceback, written while Python reads its own syntax trees (the collector may come at any moment),
# breaks the reading: "AST constructor recursion depth mismatch". Without column marks tracebacks read no trees.
PYTEST := PYTHONNODEBUGRANGES=1 $(BIN)/python -m pytest

# Tests on Kafka wait more than they work: two cores carry three files at a time.
test: check ## Check everything, then run all tests but the benchmarks, three files at a time (JOBS=1: one)
	@$(PYTEST) tests --ignore=tests/bench -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

faults: env ## The long form of everything that goes wrong on purpose (N=10: ten times as much), then the mutation check
	@ORGPULSE_FAULTS_N=$(N) $(PYTEST) $(wildcard tests/state tests/faults tests/sinks tests/fuzz tests/simulation tests/end_to_end) -s -p no:logging $(ARGS)
	@$(BIN)/python -m tests.faults.mutations

security: check ## Run the security suite, long form
	@ORGPULSE_FAULTS_N=1 $(PYTEST) tests -m security $(ARGS)

check: env ## Lint, formatting, types, and the direction of imports
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES)
	@$(BIN)/mypy --no-error-summary
	@said=$$($(BIN)/lint-imports --no-cache --no-logo 2>&1) || { printf '%s\n' "$$said"; exit 1; }

format: env ## Format the code and order its imports
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

soak: env ## Load for MINUTES minutes (45) with a fault every two: flat memory, every figure right in the end
	@$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),45) $(ARGS)

bench: env ## Measure throughput and latency (minutes; wants an idle machine)
	@for b in small_job full_pipeline live_latency memory shard_ticks scoring latency sinks recovery redis_writes growth directory capacity peers; do echo "== $$b"; $(BIN)/python -m tests.bench.$$b $(ARGS) || exit 1; done

abuse: env ## Attack a real worker by messages and show what bounded each attack (ARGS="--only bombs --json out.json")
	@$(BIN)/python -m tests.bench.abuse $(ARGS)

bench-peers: env ## Measure the small job on other engines too (installs them on demand: 2.5 GB; ARGS=--help)
	@$(BIN)/python -m tests.bench.peers $(ARGS)

profile: env ## Show where a worker's time goes, step by step (ARGS="--json after.json --against before.json")
	@$(BIN)/python -m tests.bench.profile $(ARGS)

lock: ## Write both lock files from pyproject.toml (ARGS=--upgrade: newest indirect ones too)
	@$(PYTHON) deploy/local/bootstrap.py lock $(ARGS)

audit: env ## Ask whether what is locked has known vulnerabilities (ARGS=--required: fail when nobody answers)
	@$(BIN)/python -m deploy.supply.audit $(ARGS)

sbom: env ## Write the bill of materials, dist/sbom.cdx.json
	@$(BIN)/python -m deploy.supply.sbom $(ARGS)

docs: env ## Write the generated parts of the documentation
	@$(BIN)/python -m streams.settings_docs
	@$(BIN)/python -m deploy.grafana.generate
	@$(BIN)/python -m deploy.kubernetes.generate
	@$(BIN)/python -m deploy.supply.licences
	@$(BIN)/python -m agents.page.openapi
	@$(BIN)/python -m reports.sample_pictures
	@$(BIN)/python -m tests.reports.report_picture
	@$(BIN)/python -m tests.end_to_end.page_picture

clean: ## Remove .venv and everything the tools left behind
	@rm -rf .venv .run build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
