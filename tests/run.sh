#!/usr/bin/env bash
# Installs what is missing, then runs every test with every feature against real servers.
# Arguments go to `cargo test`: tests/run.sh --test faults pgbouncer
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/setup.sh
# The tests wait for servers and timeouts most of the time.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(getconf _NPROCESSORS_ONLN)))}"
exec cargo test --all-features --no-fail-fast "$@"
