#!/usr/bin/env bash
# Compiles one program with no feature, the default ones and all, and compares what it answers.
set -euo pipefail
cd "$(dirname "$0")/../.."

answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT

cargo run --quiet --example same_answers --no-default-features >"$answers/none"
cargo run --quiet --example same_answers >"$answers/default"
cargo run --quiet --example same_answers --all-features >"$answers/all"

# An empty comparison proves nothing.
test "$(grep -c '^== ' "$answers/none")" -gt 500
for features in default all; do
  diff -u "$answers/none" "$answers/$features" >"$answers/diff" || {
    head -50 "$answers/diff"
    echo "features change answers: none against $features" >&2
    exit 1
  }
done
echo "$(grep -c '^== ' "$answers/none") answers are the same with no feature, the default ones and all"
