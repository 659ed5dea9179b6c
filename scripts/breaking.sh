#!/usr/bin/env bash
# Compares the contract with the last release: `buf breaking` against the newest
# tag that is an ancestor. Without a release nobody can be broken.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null); then
  echo "no release yet: nothing to break"
  exit 0
fi
# The tree as it was then, not `.git#tag=…`: that form needs a full clone.
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$tag" buf.yaml proto third_party | tar -x -C "$before"
.venv-proto/bin/buf breaking --against "$before"
echo "compatible with $tag"
