#!/usr/bin/env bash
# Installs cargo-deny and cargo-machete into a cache folder, unless they are on PATH or there already, and prints the folder.
#
# They are built without optimisation: their work takes a second, their compilation would take many minutes.
set -euo pipefail

DENY=0.20.2
MACHETE=0.9.2

cache="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dify-observe"
root="$cache/tools"
mkdir -p "$root/bin"

install_tool() {
  local name="$1" version="$2"
  if command -v "$name" >/dev/null 2>&1 || [[ -x "$root/bin/$name" ]]; then return 0; fi
  printf 'tools: building %s %s once, into %s\n' "$name" "$version" "$root" >&2
  CARGO_TARGET_DIR="$cache/tools-build" CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install --quiet --locked --root "$root" "$name@$version" >&2
}

# Away from the workspace, whose toolchain file would choose the compiler for the tools too.
cd "$cache"
install_tool cargo-machete "$MACHETE"
install_tool cargo-deny "$DENY"
rm -rf "$cache/tools-build"
printf '%s\n' "$root/bin"
