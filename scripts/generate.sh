#!/usr/bin/env bash
# Generates the committed stubs from proto/ into a folder (default: their place
# in the tree). Runs in .venv-proto: one pinned generator, see requirements/proto.in.
# Stubs of a language whose toolchain is not there stay as they are.
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
# With the comments, which compiled descriptors have not: OpenAPI shows them.
protoc --include_source_info --descriptor_set_out="$python/aster/v1/descriptors.binpb" "${protos[@]}"
# The other clients whose stubs are committed, each by its own pinned plugins.
for language in go typescript; do
  if clients/$language/task.sh needs >&2; then
    clients/$language/task.sh generate "$out" \
      "$PWD/.venv-proto/bin/python" -m grpc_tools.protoc -Iproto -Ithird_party/googleapis "${protos[@]}"
  else
    echo "left out: the stubs of clients/$language" >&2
  fi
done
