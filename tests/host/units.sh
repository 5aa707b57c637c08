#!/bin/bash
# Runs a test program's cases for transient units inside a real systemd: units.sh PROGRAM [--gtest_output=xml:FILE]
set -euo pipefail
program=$(realpath "${1:?the test program}")
report=${2:-} # --gtest_output=xml:FILE, which would not be seen outside
here=$(dirname "$(realpath "$0")")
if [ "$(id -u)" != 0 ] || [ ! -x /lib/systemd/systemd ]; then
  echo "needs root and systemd"
  exit 77
fi
dir=$(mktemp -d /var/tmp/hal9000-systemd-XXXXXX)
trap '"$here/nested_systemd.sh" down "$dir"' EXIT
"$here/nested_systemd.sh" up "$dir" "$(dirname "$program")"
for user in hal9000-mcp hal9000-remote; do
  "$here/nested_systemd.sh" run "$dir" sh -c \
    "getent passwd $user > /dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin $user"
done
# Units see a /tmp of their own.
inside=$(dirname "$program")/units.xml
code=0
"$here/nested_systemd.sh" run "$dir" env TMPDIR=/srv "$program" --gtest_filter="${GTEST_FILTER:-Unit/*:Child/*}" \
  --gtest_output="xml:$inside" || code=$?
[ -z "$report" ] || mv "$inside" "${report#--gtest_output=xml:}"
exit $code
