# What a person types. `make` alone lists it; `make run` and `make test` do everything, set-up included.
#
# After `make setup` plain cargo works too: cargo run --release -- --help

CARGO ?= cargo
# cmake, where the system's is too old; and cargo, where rustup has put it and no shell knows it yet.
export PATH := $(CURDIR)/.runtime/bin:$(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test bench soak lint doc deny

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## check or install what a build needs (asks nothing; a second time it does nothing)
	@scripts/setup

run: setup ## build, index the sample corpus, show three searches, go on watching (ONCE=1: end after the searches)
	$(CARGO) build --release --bin floodmark
	@CARGO="$(CARGO)" ONCE="$(ONCE)" scripts/sample

test: setup ## every test, the examples in the documentation included
	$(CARGO) test --workspace

bench: setup ## the figures of docs/performance.md
	@set -- benches/*.rs; [ -f "$$1" ] || { echo "bench: there are no benches yet" >&2; exit 1; }
	$(CARGO) bench --workspace

SOAK_MINUTES ?= 30
soak: setup ## the long runs: kills, faults, corruption, power cuts, for SOAK_MINUTES each (30)
	$(CARGO) test --test soak -- --minutes $(SOAK_MINUTES)

lint: setup ## formatting, clippy with warnings denied, shellcheck if it is here
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck scripts/* .ci/run; else echo "lint: no shellcheck here: scripts not checked"; fi

doc: setup ## the documentation of the crates, with warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny: ## licences, sources and advisories of the dependencies, as deny.toml says
	@scripts/deny
