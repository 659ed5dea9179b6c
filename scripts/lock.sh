#!/usr/bin/env bash
# Writes *.txt from the *.in beside them, ours and those of the peers of the bench. Arguments go to
# `uv pip compile`: --upgrade for everything, --upgrade-package NAME for one.
# Without them what is locked stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
for source in requirements/*.in bench/peers/requirements/*.in; do
  # --universal: one lock for every system. --no-header: it would repeat this line.
  .venv/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
    "$@" "$source" --output-file "${source%.in}.txt"
  echo "${source%.in}.txt"
done
