#!/usr/bin/env bash
# Measures the release binary, on /mcp and on /sse, beside other MCP servers in one run, over TLS, and prints the figures as
# ratios: size, cold start, memory, speed of list_models and ping, processor time while idle.
#
#   scripts/bench.sh             beside the TypeScript SDK's HTTP+SSE server (needs node and npm)
#   scripts/bench.sh --rmcp      beside rmcp in its fastest form and with sessions instead (builds it: several minutes)
#   scripts/bench.sh --http      on plain http, the calls alone
#   scripts/bench.sh --chat      chats through the program beside the same made directly at the model server
#   scripts/bench.sh --quick     one short round, to see that it runs; its figures mean little
#
# Figures of one run compare with each other, not with those of another machine or another day.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=4 call_seconds=1.5 idle_seconds=15 paced_tokens=10000 rmcp= chat= scheme=https plain=false
for option; do
  case $option in
    --quick) rounds=1 call_seconds=1 idle_seconds=3 paced_tokens=2000 ;;
    --chat) chat=yes ;;
    --rmcp) rmcp=yes ;;
    --http) scheme=http plain=true ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
  esac
done

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/bench
mkdir -p "$work"

echo 'building' >&2
cargo build --quiet --release --locked --bins --example stand_in --example bench_load
ours=$target/release/local-llm-mcp
stand_in=$target/release/examples/stand_in
model=${BENCH_MODEL:-gpt-oss-20b}
if [[ $chat ]]; then
  cat >"$work/chat.json" <<JSON
{"rounds": $rounds, "call_seconds": $call_seconds, "paced_tokens": $paced_tokens, "folder": "$work",
 "stand_in": "$stand_in", "model": "$model", "server": "$ours"}
JSON
  exec "$target/release/examples/bench_load" chat "$work/chat.json"
fi
if [[ ! $rmcp ]] && ! cmp -s benches/peers/typescript/package-lock.json "$work/typescript/package-lock.json"; then
  rm -rf "$work/typescript"
  mkdir "$work/typescript"
  cp benches/peers/typescript/package*.json "$work/typescript"
  (cd "$work/typescript" && npm ci --silent --ignore-scripts --no-audit --no-fund) || {
    rm -rf "$work/typescript"
    exit 1
  }
fi
[[ $rmcp ]] || cp benches/peers/typescript/server.mjs "$work/typescript/"
if [[ $rmcp ]]; then
  CARGO_TARGET_DIR=$work/rmcp cargo build --quiet --release --locked --manifest-path benches/peers/rmcp/Cargo.toml
fi

server() { # NAME TRANSPORT PATH BINARY MORE-ENVIRONMENT COMMAND…
  local name=$1 transport=$2 path=$3 binary=$4 more=$5 words certificate=
  shift 5
  words=$(printf ', "%s"' "$@")
  [[ $scheme == http ]] || certificate='"HTTPS_CERT_PATH": "{certificate}", "HTTPS_KEY_PATH": "{key}", '
  printf '{"name": "%s", "transport": "%s", "path": "%s", "binary": %s, "command": [%s], "plain": %s, "environment": {%s%s%s}}' \
    "$name" "$transport" "$path" "$binary" "${words#, }" "$plain" "$more" "$certificate" \
    "\"PORT\": \"{port}\", \"HOST\": \"127.0.0.1\", \"LM_STUDIO_URL\": \"{upstream}\", \"MCP_TRANSPORT\": \"$scheme\", \"MCP_STATE_DIR\": \"{folder}\""
}

servers=$(server 'local-llm-mcp on /mcp' streamable /mcp "\"$ours\"" '' "$ours")
if [[ $rmcp ]]; then
  peer=$work/rmcp/release/baseline-rmcp
  servers+=,$(server 'rmcp, JSON' streamable /mcp "\"$peer\"" '"BASELINE_JSON": "1", ' "$peer")
  servers+=,$(server 'rmcp, sessions' streamable /mcp "\"$peer\"" '' "$peer")
else
  servers+=,$(server 'TypeScript SDK' sse /sse null '' node "$work/typescript/server.mjs")
fi
servers+=,$(server 'local-llm-mcp on /sse' sse /sse "\"$ours\"" '' "$ours")

cat >"$work/plan.json" <<JSON
{"rounds": $rounds, "call_seconds": $call_seconds, "idle_seconds": $idle_seconds, "folder": "$work",
 "stand_in": "$stand_in", "model": "$model", "servers": [$servers]}
JSON
"$target/release/examples/bench_load" "$work/plan.json"
