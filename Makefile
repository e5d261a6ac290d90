# Targets have one line of help each: `make help`.

CARGO ?= cargo
SERVER := target/release/pushstreamd
LOAD = $(CARGO) run --release -p pushstreamd-load --

.DEFAULT_GOAL := help
.PHONY: help run build test setup test-rust check lint bench bench-micro soak soak-restarts chaos churn million siege compat screenshots examples fuzz-smoke dist test-packages audit book docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## release binary: target/release/pushstreamd
	$(CARGO) build --release

run: build ## serve the embedded default (Bitrix layout: 8893 subscribers, 127.0.0.1:8895 publisher)
	@mkdir -p target/run
	$(SERVER) -p target/run

test: setup test-rust compat ## everything: Rust tests, wire tests, real clients; installs what it needs

setup:
	compat-tests/setup

test-rust:
	@if command -v cargo-nextest >/dev/null; then set -x; $(CARGO) nextest run && $(CARGO) test --doc; else set -x; $(CARGO) test; fi

check: ## quick: format, lints, library tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test --lib

lint: ## format and lints only
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

bench: build ## table of figures beside the floor, into docs/PERFORMANCE.md (PEER=NAME=ADDRESS:PORT,PID  NCHAN=1  ROWS=fan,poll)
	$(LOAD) bench --write docs/PERFORMANCE.md $(if $(PEER),--peer $(PEER)) $(if $(NCHAN),--nchan) $(if $(ROWS),--rows $(ROWS))

bench-micro: ## single functions: benches/*.rs
	$(CARGO) bench

soak: build ## numbered messages to 2,000 long-polls for four minutes: nothing lost, nothing twice
	$(LOAD) soak --write docs/PERFORMANCE.md

soak-restarts: build ## an hour (SECONDS) of all modes under load, a restart or kill every minute (PERIOD): nothing lost, nothing twice
	PUSHSTREAMD=$(CURDIR)/$(SERVER) SOAK_SECONDS=$(or $(SECONDS),3600) SOAK_PERIOD=$(or $(PERIOD),60) \
	  $(CARGO) test --test it -- --exact restart_soak::restarts_under_load_lose_nothing_and_give_nothing_twice --nocapture

chaos: build ## ten minutes (SECONDS) of three nodes, a Redis that fails over and a network that breaks, and ten of a cluster (SEED, REDIS=valkey, OTHER=path of another build, that takes turns): nothing lost, nothing twice
	PUSHSTREAMD=$(CURDIR)/$(SERVER) CHAOS_SECONDS=$(or $(SECONDS),600) CHAOS_SEED=$(or $(SEED),$$(date +%s)) CHAOS_REDIS=$(REDIS) CHAOS_OTHER=$(OTHER) \
	  $(CARGO) test --test it -- nodes::chaos:: --test-threads 1 --nocapture

churn: build ## memory under storms of connections
	$(LOAD) churn --write docs/PERFORMANCE.md

siege: build ## ten minutes (SECONDS=600) of everything hostile at every door, with 1,000 well-behaved clients checked
	$(LOAD) siege --seconds $(or $(SECONDS),600) $(if $(WRITE),--write docs/SECURITY.md)

million: build ## pauses with a million channels
	$(LOAD) million --write docs/PERFORMANCE.md

compat: build ## real clients and proxies against the release binary (PART="wire browser" for some of them)
	$(CARGO) build --release --examples
	compat-tests/run $(PART)

screenshots: build ## docs/images/status-*.png: the status page in Chromium with traffic on it
	cd compat-tests && ./setup && node browser/screenshots.mjs

examples: build ## load every file of nginx-conf-examples by the program it is for, with traffic
	compat-tests/run examples

fuzz-smoke: ## fuzz what takes bytes of strangers: property tests with many cases, then each target for SECONDS (10)
	PROPTEST_CASES=8192 $(CARGO) test --lib
	PROPTEST_CASES=8192 $(CARGO) test --test it fuzz_entry::
	fuzz/run $(SECONDS)

dist: build ## deb, rpm, static archive, container image, compose files, SHA256SUMS, SBOM: target/dist (MAINTAINER="Name <mail>")
	packaging/musl
	WITHOUT_SBOM=$(WITHOUT_SBOM) packaging/dist

test-packages: ## make dist, install deb and rpm in a Debian that is booted, upgrade them under traffic, remove them; run the image, also by Docker (as root)
	@packaging/base & base=$$!; $(MAKE) dist; made=$$?; wait $$base && exit $$made # one waits for a mirror, the other for processors
	packaging/test

audit: ## licences, sources and duplicates of all crates (ADVISORIES=1: known holes too, from the network)
	packaging/tools cargo-deny
	PATH="$(CURDIR)/target/tools/bin:$$PATH" $(CARGO) deny --all-features check --hide-inclusion-graph $(if $(ADVISORIES),advisories) bans licenses sources

book: ## the pages of docs/ as a site: target/book
	packaging/book

docs: ## documentation of the code, in target/doc
	$(CARGO) doc --no-deps --document-private-items

clean: ## remove what was built and installed here
	$(CARGO) clean
	rm -rf compat-tests/node_modules compat-tests/.cache
