#!/usr/bin/env bash
# Builds the fuzz targets and runs each over its corpus, then for as long as is said.
#   tests/fuzz/run.sh 60            every target for 60 seconds
#   tests/fuzz/run.sh 600 forwarded this one for ten minutes
# The flags are those that cargo-fuzz passes, all of them known to stable Rust; there is no
# address sanitizer, since there is no unsafe code. Finds are kept in the target folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# libFuzzer is C++. Of the servers that the tests need, none takes part.
command -v c++ >/dev/null || (source ../setup.sh && apt_install g++)

seconds=${1:-30}
shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for file in targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named the flags are not those of build scripts and macros.
export CARGO_BUILD_TARGET=$host CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../../target}/fuzz
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-$option"
done
export RUSTFLAGS
cargo build --release --quiet --bins

for target in "${targets[@]}"; do
  finds=$CARGO_TARGET_DIR/corpus/$target
  faults=$CARGO_TARGET_DIR/faults/$target
  mkdir -p "$finds" "$faults"
  printf 'fuzz %s: %s seconds\n' "$target" "$seconds"
  log=$CARGO_TARGET_DIR/$target.log
  # Whatever takes a second for one input is a fault of its own.
  "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
    -max_len=4096 -artifact_prefix="$faults/" -print_final_stats=1 \
    "$finds" "corpus/$target" >"$log" 2>&1 ||
    { grep -v -e "	NEW" -e REDUCE -e pulse "$log" >&2; exit 1; }
  sed -n 's/^stat::number_of_executed_units: */  inputs: /p; s/^#.*DONE *\(cov: [0-9]*\).*/  \1/p' "$log"
done
