# Every target does all of its own set-up on a machine that has a Rust toolchain; `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test screenshots bench check check-format check-lints check-docs check-scripts sqlx clean-postgres toolchain browser

# rustup puts cargo here, and not every shell has it on PATH.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
# The queries are checked against .sqlx, so that nothing but a running program needs a database.
export SQLX_OFFLINE := true

TARGET := $(or $(CARGO_TARGET_DIR),target)
# The release of the crate `sqlx` in Cargo.toml: the two share the format of .sqlx.
SQLX_CLI := 0.9.0
ARGS ?=

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: toolchain ## Builds the service and runs it on a small shop's data, kept in target/postgres/demo
	cargo build --release --locked
	url=$$(scripts/postgres url demo); DATABASE_URL=$$url exec $(TARGET)/release/trustdata demo

test: toolchain browser ## Runs all tests; some of them: make test ARGS=name
	url=$$(scripts/postgres url test); DATABASE_URL=$$url cargo test --locked $(ARGS)

screenshots: toolchain browser ## Makes pictures of the demo shop's pages in target/screenshots
	url=$$(scripts/postgres url test); DATABASE_URL=$$url cargo test --locked --test it -- --ignored screenshots

bench: toolchain ## Measures the webhook on this machine and prints the table
	url=$$(scripts/postgres url bench); DATABASE_URL=$$url cargo bench --locked --bench webhook

check: check-format check-lints check-docs check-scripts ## Checks format, lints, documentation and scripts

check-format: toolchain
	cargo fmt --check

check-lints: toolchain
	cargo clippy --all-targets --locked -- -D warnings

check-docs: toolchain
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

check-scripts:
	if command -v shellcheck >/dev/null; then shellcheck scripts/* .ci/run; else echo 'shellcheck is not installed: skipped'; fi

# A database of its own, made from the migrations alone: what a developer's database has besides must not get in.
sqlx: toolchain ## Checks every query against the migrations and writes .sqlx anew
	cargo sqlx --version >/dev/null 2>&1 || cargo install sqlx-cli --version $(SQLX_CLI) --locked --no-default-features --features postgres
	url=$$(scripts/postgres url test); \
	export DATABASE_URL=$$(sed -E 's|^([a-z]+://[^/]*)/[^?]*|\1/trustdata_sqlx|' <<<"$$url") SQLX_OFFLINE=false; \
	cargo sqlx database drop -y -f; \
	cargo sqlx database create; \
	cargo sqlx migrate run; \
	cargo sqlx prepare -- --all-targets; \
	cargo sqlx database drop -y -f

clean-postgres: ## Stops the private Postgres servers and deletes their data, the demo's too
	for profile in demo test bench; do scripts/postgres remove "$$profile"; done

toolchain:
	@command -v cargo >/dev/null || { echo 'cargo was not found: install Rust (https://rustup.rs), or put the folder that has cargo on PATH.' >&2; exit 1; }
	@scripts/system-packages cc

browser:
	@scripts/system-packages chromium
