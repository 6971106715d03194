#!/bin/sh
# Makes or renews the local CA and the server's certificate ahead of the first start.
#
#   scripts/gen-selfsigned.sh [NAME-OR-ADDRESS...]
#
# The certificate covers this machine's names and addresses, and the given ones. It is made by
# local-llm-mcp itself: the one named in LOCAL_LLM_MCP, or beside this script, or built here, or in
# PATH, or else by cargo in a checkout. It goes where the server looks for it.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"

if [ -n "${LOCAL_LLM_MCP:-}" ]; then
    exec "$LOCAL_LLM_MCP" cert "$@"
fi
for binary in ./local-llm-mcp "${CARGO_TARGET_DIR:-target}/release/local-llm-mcp"; do
    if [ -x "$binary" ]; then
        exec "$binary" cert "$@"
    fi
done
if command -v local-llm-mcp >/dev/null 2>&1; then
    exec local-llm-mcp cert "$@"
fi
if [ -f Cargo.toml ] && command -v cargo >/dev/null 2>&1; then
    exec cargo run --release --quiet -- cert "$@"
fi
echo "$0: there is no local-llm-mcp here, in PATH, or to be built; put the binary in $root, or install Rust from https://rustup.rs" >&2
exit 1
