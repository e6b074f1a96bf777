#!/usr/bin/env bash
# Rejects unclear words in the documents below: `words.txt` has a pattern and its replacement on each line.
# A file joins the list once it has no hit.
set -euo pipefail
cd "$(dirname "$0")/.."

files=(README.md CHANGELOG.md CONTRIBUTING.md src/DESIGN.md src/API.md src/lib.rs src/guide/*)

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
