#!/usr/bin/env bash
# Redis and PostgreSQL from Debian's packages, and Azurite from npm, if they are not on this machine yet.
# Nothing is left running: the tests start servers of their own, on free loopback ports.
set -eu
bash "$(dirname "$0")/azurite/install.sh" ||
  echo "azurite could not be installed (without it the tests that need it are skipped)" >&2
missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v openssl >/dev/null || missing+=(openssl)
[ ${#missing[@]} = 0 ] && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "please install: ${missing[*]} (without them the tests that need them are skipped)" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# No service may start on the standard ports: a policy file tells Debian's packages so.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
