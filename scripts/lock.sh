#!/usr/bin/env bash
# Writes requirements/*.txt from the *.in beside them. Arguments go to
# `uv pip compile`: --upgrade for everything, --upgrade-package NAME for one.
# Without them what is locked stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
for source in requirements/*.in; do
  # --universal: one lock for every system. --no-header: it would repeat this line.
  .venv/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
    "$@" "$source" --output-file "${source%.in}.txt"
  echo "${source%.in}.txt"
done
