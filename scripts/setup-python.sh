#!/usr/bin/env bash
# Makes a Python environment with the DuckDB package and an S3 server (moto) in a cache folder, unless it is there already, and prints the
# folder. Tests of the archive use it; nothing that is installed for users does.
#
# Versions and hashes are pinned in scripts/python/requirements.txt. About 200 MB.
set -euo pipefail

requirements="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/python/requirements.txt"
cache="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dify-observe"
folder="$cache/python"

say() { printf '%s\n' "$*" >&2; }

# Complete, and made from these requirements.
is_there() { cmp -s "$requirements" "$folder/requirements.txt" && "$folder/bin/python" -c 'import duckdb, moto' 2>/dev/null; }

has_venv() { command -v python3 >/dev/null 2>&1 && python3 -c 'import venv, ensurepip' 2>/dev/null; }

install_venv() {
  say "python: installing python3-venv with apt"
  local as_root=()
  [[ "$(id -u)" == 0 ]] || as_root=(sudo)
  "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 -qy install --no-install-recommends python3 python3-venv >&2
}

make() {
  has_venv || install_venv || { say "python: python3 with its venv module is missing, and apt could not install it"; return 1; }
  say "python: installing duckdb and moto into $folder"
  rm -rf "$folder"
  python3 -m venv "$folder" >&2
  "$folder/bin/pip" install -q --disable-pip-version-check --no-deps --require-hashes -r "$requirements" >&2
  cp "$requirements" "$folder/requirements.txt"
}

mkdir -p "$cache"
# Two runs at once would be in each other's way.
exec 9>"$cache/python.lock"
flock 9
if is_there; then say "python: duckdb and moto are installed"; else make; fi
printf '%s\n' "$folder"
