#!/usr/bin/env bash
# Floods the release binary with registrations and wrong tokens while somebody asks for /health, and shows what came of
# it: the memory before and after, and how long the answers took. Fails where either is not as it was.
#
#   scripts/flood.sh [COUNT]     COUNT (100000) of each: registrations from one address, from many, wrong tokens
set -euo pipefail
cd "$(dirname "$0")/.."

export FLOOD=${1:-100000}
exec cargo test --quiet --release --locked --test it statement_18_a_flood -- --nocapture
