#!/usr/bin/env bash
# The tasks of the Rust client; clients/conformance/README.md says what each one does.
set -euo pipefail
cd "$(dirname "$0")"
build=$PWD/build
version=$(sed -n 's/^version = "\(.*\)"/\1/p' ../python/pyproject.toml)
export CARGO_TARGET_DIR=$build/target

case $1 in
needs)
  command -v cargo >/dev/null || { echo "rust: install Rust 1.88 or newer (a package of your system, or rustup)" && exit 1; }
  ;;
build)
  cargo build --quiet --example conformance
  # The crate as a registry would hand it out; `fresh` compiles it, so it is not done here too.
  cargo package --quiet --allow-dirty --no-verify
  test -f "$build/target/package/aster-client-$version.crate"
  ;;
lint)
  cargo fmt --check
  cargo clippy --quiet --all-targets -- --deny warnings
  RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --no-deps
  ;;
test)
  cargo test --quiet --lib
  ;;
conformance)
  exec "$build/target/debug/examples/conformance" "$2"
  ;;
fresh)
  cd "$2"
  tar -xzf "$build/target/package/aster-client-$version.crate"
  # Its dependencies come from cargo's own cache, in the versions that are there.
  sed -e "s/@VERSION@/$version/" >Cargo.toml <<'TOML'
[package]
name = "fresh"
version = "0.1.0"
edition = "2021"

[dependencies]
aster-client = "@VERSION@"
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }

[patch.crates-io]
aster-client = { path = "aster-client-@VERSION@" }
TOML
  mkdir src
  cp "$OLDPWD/Cargo.lock" .
  ;;
snippet)
  cd "$2"
  cp "$3" src/main.rs
  cargo run --quiet --offline
  ;;
*)
  echo "unknown task $1" >&2
  exit 2
  ;;
esac
