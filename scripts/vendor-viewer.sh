#!/usr/bin/env bash
# Fetches the viewer of /docs from its npm package: scripts/vendor-viewer.sh VERSION
# Write the version into viewer/README.md and the new hashes into tests/bridge/test_docs_page.py.
set -euo pipefail
cd "$(dirname "$0")/.."
viewer=$PWD/server/asteros/bridge/viewer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "swagger-ui-dist@$1" >/dev/null
tar xzf swagger-ui-dist-*.tgz
for file in swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css LICENSE NOTICE; do
  cp "package/$file" "$viewer/$file"
done
cd "$viewer" && sha256sum swagger-ui* LICENSE NOTICE
