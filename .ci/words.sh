#!/usr/bin/env bash
# Rejects unclear words in the files below: `words.txt` has a pattern and its replacement on each line.
# A folder joins the list once its files have no hit.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(
  find README.md CHANGELOG.md CONTRIBUTING.md src examples tests benches .ci/run \
    \( -name target -o -name fuzz \) -prune -o -type f \
    \( -name '*.rs' -o -name '*.md' -o -name '*.sh' -o -name '*.yaml' -o -name '*.yml' -o -name '*.cfg' -o -name run \) -print
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
