#!/usr/bin/env bash
# The tasks of the Python client; clients/conformance/README.md says what each one does.
# It is what the server's own tests use, so most of its work is done by make check and make test.
set -euo pipefail
cd "$(dirname "$0")/../.."

case $1 in
needs)
  test -x .venv/bin/python || { echo "python: make setup" && exit 1; }
  ;;
build) ;;
lint)
  .venv/bin/ruff check --quiet clients
  .venv/bin/ruff format --quiet --check clients
  .venv/bin/mypy --no-error-summary clients/conformance/runner.py
  ;;
test)
  .venv/bin/pytest --quiet tests/clients/python
  ;;
conformance)
  exec .venv/bin/python clients/conformance/runner.py "$2"
  ;;
*)
  echo "unknown task $1" >&2
  exit 2
  ;;
esac
