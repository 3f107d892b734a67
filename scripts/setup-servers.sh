#!/usr/bin/env bash
# Installs the servers that tests, the demo and the benchmarks start for themselves, where they are missing.
#
#   scripts/setup-servers.sh [postgresql] [prometheus] [pgbouncer] [prometheus-pushgateway]      (all four without arguments)
#   scripts/setup-servers.sh prometheus-sql-exporter prometheus-postgres-exporter      (what benchmarks compare with)
#
# Only programs are needed: nothing is started, now or at the next boot. With TEST_DATABASE_URL set, most tests use the server that
# it names; PostgreSQL's own programs are then wanted for those that stop or copy a server, and it is no error if they cannot be had.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

has_program() {
  command -v "$1" >/dev/null 2>&1 || [[ -x "/usr/sbin/$1" || -x "/usr/local/bin/$1" ]]
}

has_postgresql_server() {
  [[ -n "${PG_BIN:-}" && -x "$PG_BIN/initdb" ]] && return 0
  command -v initdb >/dev/null 2>&1 && return 0
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

is_there() {
  case "$1" in
    postgresql) has_postgresql_server && has_program psql ;;
    prometheus) has_program prometheus && has_program promtool ;;
    pgbouncer) has_program pgbouncer ;;
    prometheus-pushgateway | prometheus-sql-exporter | prometheus-postgres-exporter) has_program "$1" ;;
    *) say "unknown server: $1 (known: postgresql prometheus pgbouncer prometheus-pushgateway prometheus-sql-exporter prometheus-postgres-exporter)"; exit 2 ;;
  esac
}

# With an existing server only the client is missing.
package_of() {
  if [[ "$1" == postgresql ]] && has_postgresql_server; then echo postgresql-client; else echo "$1"; fi
}

as_root() {
  if [[ "$(id -u)" == 0 ]]; then "$@"; else sudo "$@"; fi
}

# Debian starts a service as soon as it is installed, unless this policy forbids it.
policy=/usr/sbin/policy-rc.d
own_policy=no

forbid_starting_services() {
  [[ -e "$policy" ]] && return 0
  own_policy=yes
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}

allow_starting_services() {
  if [[ "$own_policy" == yes ]]; then as_root rm -f "$policy"; fi
}

install_packages() {
  trap allow_starting_services EXIT
  forbid_starting_services
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q update >&2 ||
    say "apt-get update failed; trying with the package lists that are there"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qy install --no-install-recommends "$@" >&2 || return 1
  if [[ -d /run/systemd/system ]]; then
    for package in "$@"; do as_root systemctl disable --quiet "$package" 2>/dev/null || true; done
  fi
}

# Ends in success only where an existing server stands in for what is missing.
give_up() {
  say "$@"
  [[ -n "${TEST_DATABASE_URL:-}" ]] || return 1
  say "TEST_DATABASE_URL is set: tests that need what is missing will fail, the others use that server."
}

main() {
  local wanted=("$@") missing=()
  [[ ${#wanted[@]} -gt 0 ]] || wanted=(postgresql prometheus pgbouncer prometheus-pushgateway)
  for server in "${wanted[@]}"; do
    is_there "$server" || missing+=("$(package_of "$server")")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then
    say "servers: ${wanted[*]} are installed"
    return 0
  fi
  if ! command -v apt-get >/dev/null 2>&1; then
    give_up "missing: ${missing[*]}. This is not a Debian-like system: install them by its own means. PG_BIN names a folder with" \
      "PostgreSQL's programs if they are not on PATH, TEST_DATABASE_URL (a superuser's) an existing server for most tests."
    return
  fi
  if [[ "$(id -u)" != 0 ]] && ! command -v sudo >/dev/null 2>&1; then
    give_up "missing: ${missing[*]}. Install them as root: apt-get install --no-install-recommends ${missing[*]}"
    return
  fi
  say "servers: installing with apt: ${missing[*]} (programs only, no service is started)"
  if ! install_packages "${missing[@]}"; then
    give_up "apt could not install ${missing[*]}"
    return
  fi
  for server in "${wanted[@]}"; do
    is_there "$server" || { say "$server is still missing after the installation"; return 1; }
  done
}

main "$@"
