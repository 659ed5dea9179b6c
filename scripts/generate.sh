#!/usr/bin/env bash
# Generates the committed stubs from proto/ into a folder (default: their place
# in the tree). Runs in .venv-proto: one pinned generator, see requirements/proto.in.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
python=$out/clients/python
mkdir -p "$python"
find "$python/aster/v1" -name '*_pb2*' -delete 2>/dev/null || true
PATH=$PWD/.venv-proto/bin:$PATH
mapfile -t protos < <(cd proto && find aster -name '*.proto' | sort)
mapfile -t services < <(cd proto && grep -l '^service ' "${protos[@]}")
protoc() { python -m grpc_tools.protoc -Iproto -Ithird_party/googleapis "$@"; }
protoc --python_out="$python" --pyi_out="$python" "${protos[@]}"
# Services only: a *_pb2_grpc module without a service would be an empty file.
protoc --grpc_python_out="$python" --mypy_grpc_out=quiet:"$python" "${services[@]}"
