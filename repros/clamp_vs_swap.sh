#!/usr/bin/env bash
# Two remedies for the same crash: clamp the page ids, or swap the SWA state.
#
# Expect: both end the fault. The clamp redirects in-window reads to another request's
# page and leaves most wrong ids alone, which are inside the pool already: the draft reads
# keys that are not its own, and the accept length falls (reported: 2.13 -> 1.61 on E4B,
# 2.84 -> 1.67 on 26B). The swap gives the tables of an SGLang without the defect.
# The clamp is here to be measured, in the lab and in replay; it cannot be bound to a
# server. On sm_100 / sm_103 the server's crash is dumped and both remedies are replayed.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about five minutes in the lab, two with --quick.

set -euo pipefail
NAME=clamp_vs_swap
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

FIX=state-swap
MODEL=${MODEL:-google/gemma-4-E4B-it}
DRAFT_MODEL=${DRAFT_MODEL:-google/gemma-4-E4B-it-assistant}
SERVER=(
    --model-path "$MODEL"
    --attention-backend trtllm_mha
    --page-size 64
    --context-length 16384
    --mem-fraction-static 0.85
    --speculative-algorithm NEXTN
    --speculative-draft-model-path "$DRAFT_MODEL"
    --speculative-num-steps 3
    --speculative-num-draft-tokens 4
    --speculative-eagle-topk 1
)
BENCH=(
    --backend sglang
    --model "$MODEL"
    --dataset-name random
    --random-input-len 8192
    --random-output-len 1024
    --random-range-ratio 1.0
    --num-prompts 80
    --max-concurrency 64
)

repro_begin "$@"

if [ "$WHERE" = lab ]; then
    scenario=gemma4-e4b-summarisation
    [ "$QUICK" = 0 ] || scenario=smoke
    step clamp "${TRIAGE[@]}" verify clamp --scenario "$scenario"
    expect 0 "the clamp ends the fault and leaves wrong pages"
    step swap "${TRIAGE[@]}" verify "$FIX" --scenario "$scenario"
    expect 0 "the swap ends the fault and leaves nothing wrong"
    finding "$EXIT_REPRODUCED" "both end the fault; only $FIX reads the right pages"
fi

serve trapped SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_CHECKS=I1 \
    SGLANG_TRTLLM_MHA_DEBUG_DIR="$OUT/dumps"
bench trapped
stop_server
dump=$(newest_dump)
[ -n "$dump" ] || finding "$EXIT_CLEAN" "no trap fired; this SGLang does not have the defect"
step replay-clamp "${TRIAGE[@]}" replay "$dump" --fix clamp
step "replay-$FIX" "${TRIAGE[@]}" replay "$dump" --fix "$FIX"
expect 0 "with $FIX the recorded launch reads what it should"
finding "$EXIT_REPRODUCED" "both replays ran on the launch that would have faulted"
