#!/usr/bin/env bash
# Gemma-4-E2B: layers that share the keys of earlier ones, inside piecewise CUDA graphs.
#
# Expect: on SGLang 0.5.12.post1 the first such layer fails in the piecewise attention op,
# which slices the keys it was not given; --fix optional-kv lets all layers through. On
# every release the multimodal switch refuses E2B and E4B and says why. In the lab SGLang's
# own attention layer and op run on a CPU; on sm_100 / sm_103 the server is started with
# piecewise graphs enforced. SGLang 0.5.23 has none any more and refuses that flag.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about a minute in the lab.

set -euo pipefail
NAME=gemma4_e2b_kv_shared_graph
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

FIX=optional-kv
MODEL=${MODEL:-google/gemma-4-E2B-it}
SERVER=(
    --model-path "$MODEL"
    --attention-backend triton
    --context-length 16384
    --mem-fraction-static 0.85
    --enforce-piecewise-cuda-graph
)
BENCH=(
    --backend sglang
    --model "$MODEL"
    --dataset-name random
    --random-input-len 3000
    --random-output-len 100
    --random-range-ratio 1.0
    --num-prompts 30
    --max-concurrency 30
)

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
if ! MAY_DIE=1 serve unfixed; then
    failed=$(sed -nE '/subscriptable|Optional|expected a .Tensor/p' "$OUT/server-unfixed.log" | tail -n 1)
    [ -n "$failed" ] || fail "$EXIT_DIFFERENT" "the server failed for another reason, see $OUT/server-unfixed.log"
fi
stop_server
serve fixed SGLANG_TRIAGE_FIXES="$FIX"
bench fixed
expect 0 "with $FIX the server captures and carries the load"
stop_server
[ -z "$failed" ] || finding "$EXIT_REPRODUCED" "without $FIX: $failed"
finding "$EXIT_CLEAN" "this SGLang captures KV-shared layers without $FIX"
