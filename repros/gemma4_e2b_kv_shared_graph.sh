#!/usr/bin/env bash
# Gemma-4-E2B: layers that share the keys of earlier ones, inside piecewise CUDA graphs.
#
# Expect: on SGLang 0.5.12.post1 the first such layer fails in the piecewise attention op,
# which slices the keys it was not given; --fix optional-kv lets all layers through. On
# every release the multimodal switch refuses E2B and E4B and says why. In the lab SGLang's
# own attention layer and op run on a CPU; on a GPU a real server (`triage lab serve`) is
# started with piecewise graphs enforced. SGLang 0.5.23 has none any more and refuses that flag.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about a minute in the lab.

set -euo pipefail
NAME=gemma4_e2b_kv_shared_graph
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

FIX=optional-kv
SERVE=(E2B --attention triton)
FLAGS=(--enforce-piecewise-cuda-graph)

repro_begin "$@"

if [ "$WHERE" = lab ]; then
    step op "${TRIAGE[@]}" verify "$FIX"
    expect 0 "fails without $FIX, runs with it, equals a release without the defect"
    step switch "${TRIAGE[@]}" verify mm-piecewise-graphs
    expect 0 "the switch opens the gate for 26B-A4B and keeps E4B out"
    finding "$EXIT_REPRODUCED" "KV-shared layers fail in the piecewise op without $FIX"
fi

# A server that cannot capture ends before it is healthy: that is the finding here.
failed=""
serve unfixed --mode off
if [ "$CODE" = 3 ] && [ -e "$SERVED/server.log" ]; then
    failed=$(sed -nE '/subscriptable|Optional|expected a .Tensor/p' "$SERVED/server.log" | tail -n 1)
    [ -n "$failed" ] || fail "$EXIT_DIFFERENT" "the server failed for another reason, see $SERVED/server.log"
else
    expect_clean "the server captures and carries the load"
fi
serve fixed --mode off --fix "$FIX"
expect_clean "with $FIX the server captures and carries the load"
[ -z "$failed" ] || finding "$EXIT_REPRODUCED" "without $FIX: $failed"
finding "$EXIT_CLEAN" "this SGLang captures KV-shared layers without $FIX"
