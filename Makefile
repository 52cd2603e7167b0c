# What a person types. `make` alone lists it; `make run` and `make test` do everything, set-up included.
#
# After `make setup` plain cargo works too: cargo run --release -- --help

CARGO ?= cargo
# cmake, where the system's is too old; and cargo, where rustup has put it and no shell knows it yet.
export PATH := $(CURDIR)/.runtime/bin:$(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test bench soak fuzz storm lint doc deny

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## check or install what a build needs (asks nothing; a second time it does nothing)
	@scripts/setup

run: setup ## build, index the sample corpus, show three searches, go on watching (ONCE=1: end after the searches)
	$(CARGO) build --release --bin floodmark
	@CARGO="$(CARGO)" ONCE="$(ONCE)" scripts/sample

test: setup ## every test, the examples in the documentation included
	$(CARGO) test --workspace --exclude floodmark-fuzz

bench: setup ## every figure of docs/performance.md (BENCH=quick: minutes; ONLY=ingest,...; benches/run.py names the rest)
	@command -v python3 >/dev/null || { echo "bench: python3 runs the benches and is not here: install it (3.10 or newer)" >&2; exit 1; }
	@CARGO="$(CARGO)" BENCH="$(BENCH)" ONLY="$(ONLY)" python3 benches/run.py

MINUTES ?= 1
RACE_SECONDS ?= 60
RACE_SEED ?= 100
SOAK_MINUTES ?= 30
soak: setup ## the long runs: kills, faults, corruption, power cuts, for SOAK_MINUTES each (30)
	$(CARGO) test --test soak -- --minutes $(SOAK_MINUTES)

fuzz: setup ## libFuzzer over everything that reads bytes from outside (MINUTES=1 for each part; TARGETS="json csv": only these)
	@CARGO="$(CARGO)" MINUTES="$(MINUTES)" scripts/fuzz $(TARGETS)

storm: setup ## sixteen writers against a run that watches, for RACE_SECONDS (60), from RACE_SEED (100) on
	RACE_SECONDS=$(RACE_SECONDS) RACE_SEED=$(RACE_SEED) $(CARGO) test --test whole races::a_long_storm -- --ignored --nocapture

lint: setup ## formatting, clippy with warnings denied, shellcheck if it is here
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --exclude floodmark-fuzz --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck scripts/* .ci/run; else echo "lint: no shellcheck here: scripts not checked"; fi

doc: setup ## the documentation of the crates, with warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --exclude floodmark-fuzz --no-deps

deny: ## licences, sources and advisories of the dependencies, as deny.toml says
	@scripts/deny
