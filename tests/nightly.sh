#!/usr/bin/env bash
# What is slow or rarely changes: pairs of features, docs.rs, the package, the oldest compiler and the least
# versions, licences, the adapters of other pools, long tests, a long soak, fuzzing. `.ci/run` is the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Tools outside the Rust toolchain are built once, and kept in the target folder.
export PATH="$PWD/target/tools/bin:$PATH"

step() { printf '\n== %s\n' "$*"; "$@"; }

# What cannot be proved on this machine is reported at the end.
unproved=()
unproved() {
  printf '\n== not proved: %s\n' "$1"
  unproved+=("$1")
}

# Whether the tool is there, or can be built from the registry.
have_tool() {
  command -v "$1" >/dev/null ||
    step env CARGO_PROFILE_RELEASE_LTO=off cargo install --quiet --locked --root target/tools "$1"
}

step tests/setup.sh
step cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
step cargo fmt --check --manifest-path examples/pools/Cargo.toml
step cargo fmt --check --manifest-path tests/otel/Cargo.toml

mapfile -t features < <(sed -n '/^\[features\]/,/^\[dependencies\]/s/^\([a-z][a-z-]*\) = .*/\1/p' Cargo.toml | grep -v '^default$')
for ((one = 0; one < ${#features[@]}; one++)); do
  for ((other = one + 1; other < ${#features[@]}; other++)); do
    step cargo clippy --lib --no-default-features --features "${features[one]},${features[other]}" --quiet -- -D warnings
  done
done

# As docs.rs builds it: nightly, or stable in nightly's place.
nightly=()
if cargo +nightly --version >/dev/null 2>&1; then nightly=(+nightly); fi
step env RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="-D warnings --cfg docsrs" CARGO_TARGET_DIR=target/docsrs \
  cargo "${nightly[@]}" doc --no-deps --all-features --quiet

# What is published builds from what is packed, and without this folder, the fuzz targets and the adapters of other pools.
step cargo package --all-features --allow-dirty --quiet
packed=target/package/$(basename target/package/tower-health-*.crate .crate)

# The floor: no crate of the tree needs more than `rust-version`. Clippy's `incompatible_msrv` sees to the
# standard library, and that compiler itself builds the crate where it is installed.
floor=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
oldest() { # the highest `rust-version` among all crates
  cargo metadata --format-version 1 --all-features --manifest-path "$1/Cargo.toml" |
    grep -o '"rust_version":"[0-9.]*"' | grep -o '[0-9.]*' | sort -V | tail -1
}
rm -f "$packed/Cargo.lock"
needed=$(CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback oldest "$packed")
step test "$(printf '%s\n%s.0\n' "$needed" "$floor" | sort -V | tail -1)" = "$floor.0"
if cargo "+$floor" --version >/dev/null 2>&1; then
  step cargo "+$floor" check --quiet --lib --all-features --manifest-path "$packed/Cargo.toml"
else
  unproved "that Rust $floor itself builds it: rustup has no such toolchain here"
fi
# The least versions in Cargo.toml suffice. Those of the tests affect no user.
minimal() {
  env RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/minimal cargo "$@" --manifest-path "$packed/Cargo.toml"
}
awk '/^\[/ { tests = /^\[(dev-dependencies|\[(bench|example|test)\])/ } !tests' "$packed/Cargo.toml" >"$packed/users.toml"
mv "$packed/users.toml" "$packed/Cargo.toml"
step minimal -Z direct-minimal-versions generate-lockfile --quiet
step minimal check --quiet --lib --all-features

if have_tool cargo-deny; then
  step cargo deny check licenses bans sources
  # The database of advisories is another repository.
  if timeout 300 cargo deny fetch db >/dev/null 2>&1; then
    step cargo deny check advisories
  else
    unproved "that no advisory concerns the tree: the database cannot be fetched"
  fi
else
  unproved "licences, bans and sources: cargo-deny cannot be installed"
fi

if tag=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null); then
  if have_tool cargo-semver-checks; then
    step cargo semver-checks --baseline-rev "$tag"
  else
    unproved "that nothing breaks what $tag promised: cargo-semver-checks cannot be installed"
  fi
else
  unproved "that the public API is compatible with the last release: no release has a tag yet"
fi

# The adapters of `examples/pools` on real servers. One pool at a time: each has many rows at a time.
pools() {
  env CARGO_TARGET_DIR=target/pools cargo "$@" --manifest-path examples/pools/Cargo.toml
}
step pools clippy --all-targets --quiet -- -D warnings
step pools test --quiet -- --test-threads 1

# The tests that take a minute each, and the soak for two minutes.
step cargo test --all-features --no-fail-fast -- --ignored
step env TOWER_HEALTH_SOAK_SECONDS=120 cargo test --all-features --test faults soak

# Traces and metrics through the OpenTelemetry SDK, in a separate package.
step env CARGO_TARGET_DIR=target/otel cargo test --quiet --manifest-path tests/otel/Cargo.toml

step tests/fuzz/run.sh 60

printf '\n== all that can be proved here holds\n'
for claim in "${unproved[@]}"; do printf 'not proved: %s\n' "$claim"; done
