#!/usr/bin/env bash
# Rejects unclear words in the files below: `words.txt` has a pattern and its replacement on each line.
# A file joins the list once it has no hit.
set -euo pipefail
cd "$(dirname "$0")/.."

files=(
  README.md CHANGELOG.md CONTRIBUTING.md src/DESIGN.md src/API.md src/lib.rs src/guide/*
  src/access/{network,request_head}.rs
  src/checks/{connect_timeout,switch}.rs
  src/checks/pool/{core,mod,options}.rs
  src/grpc/{service,watch}.rs
  src/health/{closing,mod,watch,watch_limits}.rs
  src/http/{body,busy,drain,endpoints,layer,mod,service}.rs
  src/monitor/{mod,result}.rs
  src/render/{json,spring}.rs
  src/report/{entry,history,mod,observation}.rs
  .ci/run tests/run.sh
  tests/examples/*.rs tests/process/{guide,main}.rs
  examples/run.sh examples/*.rs examples/*/*.rs examples/*/*/*.rs
  examples/deploy/{envoy.yaml,haproxy.cfg,kubernetes.yaml} examples/deploy/*/*.{json,yml}
)

failed=0
while IFS=$'\t' read -r pattern replacement; do
  status=0
  grep -HnP -- "$pattern" "${files[@]}" || status=$?
  case $status in
    0) printf '  use: %s\n' "$replacement" && failed=1 ;;
    1) ;;
    *) printf 'not a pattern: %s\n' "$pattern" && exit 2 ;;
  esac
done <.ci/words.txt
exit "$failed"
