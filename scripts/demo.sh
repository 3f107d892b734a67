#!/usr/bin/env bash
# Sets up and runs the demo: see tests/src/bin/dify-demo.rs for what it does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

servers=(prometheus)
[ -n "${DATABASE_URL:-}" ] || servers+=(postgresql)
scripts/setup-servers.sh "${servers[@]}"

echo "building dify-exporter, dify-simulator and dify-demo (the first time takes a few minutes)"
cargo build --locked -p dify-exporter -p dify-observe-tests --bins
exec "${CARGO_TARGET_DIR:-target}/debug/dify-demo"
