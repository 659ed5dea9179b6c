#!/usr/bin/env bash
# Generates the stubs anew into a folder of its own and compares: fails when a
# committed one differs, is missing, or has no proto any more.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
scripts/generate.sh "$fresh"
differs() {
  local folder differs=1
  for folder in clients/python/aster/v1 clients/go/aster/v1 clients/typescript/src/gen; do
    # A language whose toolchain is not there was left out: generate.sh has said so.
    [[ -d $fresh/$folder ]] || continue
    diff --recursive --unified=1 --exclude=__init__.py --exclude=__pycache__ "$folder" "$fresh/$folder" || differs=0
  done
  return $differs
}
if differs >"$fresh/diff"; then
  # Serialized descriptors are lines of many thousand characters.
  head -n 60 "$fresh/diff" | cut -c -160
  echo "The committed stubs differ from proto/: run 'make proto' and commit the result." >&2
  exit 1
fi
echo "stubs match proto/"
