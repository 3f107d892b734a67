#!/usr/bin/env bash
# build.sh FOLDER: compiles the plugin against an unpacked Elasticsearch distribution and puts it among its plugins.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
distribution="$1"
plugin="$distribution/plugins/es-rest-shim"
version="$(sed -n 's/^elasticsearch.version=//p' "$distribution/modules/transport-netty4/plugin-descriptor.properties")"

rm -rf "$plugin"
mkdir -p "$plugin"
classes="$(mktemp -d)"
trap 'rm -rf "$classes"' EXIT
javac -nowarn -proc:none -Xlint:none --release 17 -cp "$distribution/lib/*:$distribution/modules/x-pack-core/*" -d "$classes" "$here"/src/*.java
jar cf "$plugin/es-rest-shim.jar" -C "$classes" .
cat > "$plugin/plugin-descriptor.properties" <<DESCRIPTOR
description=REST endpoints that are missing from the distribution for integration tests
version=$version
name=es-rest-shim
classname=local.esshim.EsRestShim
java.version=17
elasticsearch.version=$version
extended.plugins=x-pack-core
DESCRIPTOR
chmod -R a+rX "$plugin"
