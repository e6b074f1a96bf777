#!/usr/bin/env bash
# Runs all benches and writes benches/RESULTS.md and its two pictures. Takes some minutes, fewer on a machine with nothing else to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/setup.sh

results=benches/RESULTS.md
new=$(mktemp)
trap 'rm -f "$new"' EXIT

bench() { cargo bench --quiet --features "$1" --bench "${@:2}"; }
# Of what the benches were built with: name and version.
version() { cargo tree --quiet --edges normal,dev --prefix none | sed -n "s/^$1 v\([0-9.]*\).*/\1/p" | head -1; }
cpu() { sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1; }
busy() { cut -d' ' -f1 /proc/loadavg; }

# Nothing is compiled while something is timed.
for features in hyper hyper,grpc; do
  cargo bench --quiet --no-run --benches --features $features
done

{
  cat <<END
# Results

Written by \`benches/run.sh\`, $(date -u +%Y-%m-%d). Counts of instructions are exact and the same on
each run of a build. Times are medians with the quartiles in brackets, of rounds in
which all variants took turns: compare them within a table and not between machines.

- $(nproc) processors, $(cpu), Linux $(uname -r | cut -d- -f1), $(rustc --version | cut -d' ' -f1,2), \`codegen-units = 1\`
$(for crate in hyper hyper-util tower axum axum-health tonic-health tokio http; do echo "- $crate $(version "$crate")"; done)

## A whole connection, by instructions

hyper's HTTP/1.1 without sockets; a request with three headers, as a kubelet and as curl send it.

$(bench hyper connection -- --plot "$PWD/benches/connection.svg")

![Instructions of a probe](connection.svg)

Around a whole \`Router\` the layer costs an order less than by \`Router::layer\`, which boxes what it
wraps and clones the box for each request: \`router_pass\` and \`router_layer\` above.

## gRPC in process, by instructions

\`\`\`
$(bench hyper,grpc grpc)
\`\`\`
END

  # The load that building and counting left behind is not the machine's.
  sleep 20
  cat <<END

## Four threads on one service

Load of the machine when this and what follows began: $(busy).

CPU time of each thread, each with a separate connection.

$(bench hyper threads)

## A crowd that waits for one run

$(bench hyper storm)

## Over loopback sockets

CPU time of the server, kernel included, with 16 connections to each client.
$(bench hyper,grpc end_to_end -- --plot "$PWD/benches/end_to_end.svg")

![CPU time of a request](end_to_end.svg)

## Faults

Compared with the common hand-written check, on real servers; times are single measurements.

$(bench postgres,redis faults)

## What a check costs the app

$(bench postgres harm)

## How long checks are wrong, in random faults

$(bench postgres,redis truth)

## Times

\`cargo bench --bench criterion\` gives times in process and a comparison with its last run.
END
} >"$new"
cp "$new" "$results"
echo "written: $results"
