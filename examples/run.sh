#!/usr/bin/env bash
# Installs what is missing, then starts the quickstart with private servers.
# Arguments go to the program. Ctrl-C and SIGTERM reach it: both `exec` and `cargo run` replace.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/setup.sh demo
exec cargo run --quiet --example quickstart --features axum,html,signal,tracing -- "$@"
