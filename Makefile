# What people and CI run. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Outside of the clone, so that a checkout stays small and a fresh one builds fast. Any value that is set already is kept.
cache := $(or $(XDG_CACHE_HOME),$(or $(HOME),/tmp)/.cache)/dify-observe
export CARGO_TARGET_DIR ?= $(cache)/target

CARGO ?= cargo

.PHONY: help setup build test lint deny soak demo bench docs clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install the servers that tests need, where they are missing (apt, pip; says what first)
	@scripts/setup-servers.sh postgresql prometheus pgbouncer prometheus-pushgateway
	@scripts/setup-python.sh >/dev/null
	@scripts/setup-search-engine.sh $(SEARCH_ENGINE) >/dev/null

build: ## build all binaries
	$(CARGO) build --locked --workspace --bins

test: setup build ## run everything: unit, integration and doc tests; TESTARGS= goes to the test binaries
	$(CARGO) test --locked --workspace --no-fail-fast -- $(TESTARGS)

lint: ## formatting, clippy, rustdoc, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	@$(MAKE) deny

deny: ## licences, bans and sources of dependencies; unused ones
	@if tools="$$(scripts/setup-cargo-tools.sh)"; then \
	  export PATH="$$PATH:$$tools"; \
	  cargo deny --locked check bans licenses sources; \
	  cargo machete; \
	else \
	  echo "SKIPPED: licences, bans, sources and unused dependencies (cargo-deny or cargo-machete could not be installed)" >&2; \
	fi

soak: setup build ## the long random histories at full length; seeds are printed, DIFY_OBSERVE_SEED=n repeats one
	@scripts/setup-search-engine.sh opensearch2 opensearch3 elasticsearch8 >/dev/null
	DIFY_OBSERVE_SOAK=1 $(CARGO) test --locked --workspace --no-fail-fast -- $(TESTARGS)

demo: ## PostgreSQL with Dify's rows, simulated traffic, the exporter and Prometheus; ONCE=1 checks itself and exits
	@scripts/demo.sh

BENCH ?= exporter
bench: ## side-by-side measurements; BENCH=exporter, janitor or shipper, BENCHARGS= (see --help) for smaller ones
	@scripts/setup-servers.sh postgresql prometheus-sql-exporter prometheus-postgres-exporter
	$(CARGO) build --locked --profile fast -p dify-exporter -p dify-janitor -p dify-shipper -p dify-observe-bench --bins
	$(CARGO) run --locked --profile fast -p dify-observe-bench -- $(BENCH) $(BENCHARGS)

docs: ## what is generated from the code: docs/metrics.md, docs/configuration.md
	UPDATE_DOCS=1 $(CARGO) test --locked -q -p dify-observe-core --lib reference
	$(CARGO) run --locked -q -p dify-exporter -- describe --format markdown > docs/metrics.md

clean: ## remove what was built
	$(CARGO) clean
