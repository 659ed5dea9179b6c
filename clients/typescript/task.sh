#!/usr/bin/env bash
# The tasks of the TypeScript client; clients/conformance/README.md says what each one does.
set -euo pipefail
cd "$(dirname "$0")"
build=$PWD/build

# Again only when the lock has changed.
packages() {
  if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp package-lock.json node_modules/.installed
  fi
}

case $1 in
needs)
  if ! command -v node >/dev/null || ! command -v npm >/dev/null || ! node -e 'process.exit(Number(parseInt(process.versions.node) < 20))'; then
    echo "typescript: install Node.js 20 or newer with npm (a package of your system, or nodejs.org)"
    exit 1
  fi
  ;;
generate) # generate ROOT PROTOC...: the stubs, into ROOT/clients/typescript
  packages
  plugin=$PWD/node_modules/.bin/protoc-gen-es
  cd ../..
  out=$2/clients/typescript/src/gen && shift 2
  rm -rf "$out" && mkdir -p "$out"
  # The imported googleapis too: no package has them.
  "$@" $(cd third_party/googleapis && find google -name '*.proto' | sort) \
    --plugin=protoc-gen-es="$plugin" --es_out="$out" --es_opt=target=ts,import_extension=js
  ;;
build)
  packages
  rm -rf dist "$build/programs" "$build/"*.tgz
  node_modules/.bin/tsc
  node_modules/.bin/tsc -p tsconfig.programs.json
  npm pack --pack-destination "$build" --loglevel=error >/dev/null
  ;;
lint)
  packages
  node_modules/.bin/tsc --noEmit
  ;;
test)
  node --test "$build/programs/test/"
  ;;
conformance)
  exec node "$build/programs/conformance/main.js" "$2"
  ;;
fresh)
  cd "$2"
  cat >package.json <<<'{"name": "fresh", "private": true, "type": "module"}'
  # What it stands on is in npm's cache since `build`; the second line has the compiler for `snippet`.
  npm install --offline --ignore-scripts --no-audit --no-fund --loglevel=error "$build"/*.tgz
  npm install --offline --ignore-scripts --no-audit --no-fund --loglevel=error --save-dev typescript@5.9.3 @types/node@20.19.9
  ;;
snippet)
  cd "$2"
  cp "$3" program.ts
  npx tsc --strict --target ES2022 --lib ES2022,ESNext.Disposable,DOM --module NodeNext --types node program.ts
  node program.js
  ;;
*)
  echo "unknown task $1" >&2
  exit 2
  ;;
esac
