#!/usr/bin/env bash
# Makes a virtual environment from a hashed lock: scripts/setup.sh VENV LOCK [PACKAGE...]
# Each PACKAGE is a folder of this repository, installed editable.
#
# Every byte from an index is checked against a hash in requirements/. uv is an
# order of magnitude faster than pip, so it is tried first; pip reads more kinds of
# configuration (pip.conf, a proxy, an older system), so it is the way when uv fails.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 lock=$2
shift 2

say() { echo "[setup] $*" >&2; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    if [[ -n $candidate ]] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Aster needs Python 3.11 or newer with the venv module (Debian: apt-get install python3 python3-venv)," >&2
  echo "or name one: make setup PYTHON=/path/to/python3" >&2
  return 1
}

# A folder that was moved, or whose Python was removed, cannot be repaired: its
# scripts name the old path in their first line.
if [[ -e $venv ]] && ! "$venv/bin/pip" --version >/dev/null 2>&1; then
  say "$venv is broken: making it again"
  rm -rf "$venv"
fi
if [[ ! -e $venv ]]; then
  python=$(find_python)
  say "$venv with $("$python" --version)"
  "$python" -m venv "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
pip=("$venv/bin/pip" install --quiet --require-hashes)
say "packages of $lock"
# Its own `if`: under `set -e` a failure of uv must lead to pip, not to the end.
if "${pip[@]}" -r requirements/uv.txt &&
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$lock"; then
  :
else
  say "uv could not: trying pip, which takes longer"
  "${pip[@]}" -r "$lock"
fi

# No build isolation: it would fetch setuptools without a hash. The lock has it.
# No dependencies: the lock has them too, and a wrong one must show in the tests.
# --use-pep517: the only way pip will know, and older ones warn.
editables=()
for package in "$@"; do editables+=(--editable "$package"); done
if ((${#editables[@]})); then
  say "editable: $*"
  "$venv/bin/pip" install --quiet --no-deps --no-build-isolation --no-index --use-pep517 "${editables[@]}"
fi
touch "$venv/.stamp"
