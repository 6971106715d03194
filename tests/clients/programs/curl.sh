#!/usr/bin/env bash
# curl as an MCP client over HTTP+SSE, driven by JSON-RPC lines: curl.sh URL
# One curl holds the event stream and its data lines come out; every line that comes in is posted by
# another. TRUST names the CA file, or `anything` for no verification. Ends when the stream has ended.
set -euo pipefail

url=$1
origin=$(cut -d/ -f1-3 <<<"$url")
options=(--silent --show-error --fail --noproxy '*')
case ${TRUST:-} in
  '') ;;
  anything) options+=(--insecure) ;;
  *) options+=(--cacert "$TRUST") ;;
esac

exec {events}< <(exec curl "${options[@]}" --no-buffer --header 'Accept: text/event-stream' "$url")
stream=$!

# The first event names the URL for messages, relative to this server.
while IFS= read -r -u "$events" line; do
  line=${line%$'\r'}
  [[ $line == data:* ]] && break
done
path=${line#data:}
messages=$origin${path# }

{
  while IFS= read -r -u "$events" line; do
    line=${line%$'\r'}
    [[ $line != data:* ]] || printf '%s\n' "${line#data: }"
  done
  kill $$
} &

while IFS= read -r message; do
  curl "${options[@]}" --output /dev/null --header 'Content-Type: application/json' --data-binary @- "$messages" <<<"$message"
done
kill "$stream" 2>/dev/null || true
