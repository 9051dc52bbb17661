#!/usr/bin/env bash
# CloudQuery's JavaScript SDK into the cache directory of this user, once per version. Needs npm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/.*"@cloudquery\/plugin-sdk-javascript": "\(.*\)".*/\1/p' "$here/package.json")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sharder-dev
place=$cache/javascript-sdk-$version
[ -e "$place/node_modules/@cloudquery/plugin-sdk-javascript/dist/main.js" ] && exit 0
mkdir -p "$cache"
PATH=$PATH:$cache/node/bin # where the script for Azurite puts one
command -v npm >/dev/null || { echo "no npm" >&2; exit 1; }
# Beside its place first: somebody else may be doing the same, and a half installation is none.
fresh=$(mktemp -d "$cache/javascript-sdk.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
cp "$here/package.json" "$fresh/"
# Node reads no system certificates; behind a proxy of one's own these are in this file.
export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-${SSL_CERT_FILE:-}}
npm install --prefix "$fresh" --no-audit --no-fund --loglevel=error >&2
[ -e "$place/node_modules/@cloudquery" ] || mv "$fresh" "$place"
