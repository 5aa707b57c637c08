#!/bin/sh
# Installs the real MCP servers of the component tests from the npm registry and prints their folder. The folder is
# named after the lock file, so that a second run only prints it.
set -eu
here=$(cd "$(dirname "$0")/mcp_servers" && pwd)
cache=${HAL9000_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/hal9000-tests}
hash=$(sha256sum "$here/package-lock.json" | cut -c1-16)
folder=$cache/mcp-servers-$hash
if [ ! -e "$folder/complete" ]; then
  mkdir -p "$cache"
  fresh=$(mktemp -d "$cache/mcp-servers-new-XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$fresh"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  touch "$fresh/complete"
  mv -T "$fresh" "$folder" 2>/dev/null || [ -e "$folder/complete" ]  # another run may have been quicker
fi
echo "$folder"
