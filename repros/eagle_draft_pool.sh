#!/usr/bin/env bash
# An EAGLE draft with a KV pool of its own, translated through the target's SWA mapping
# (sgl-project/sglang#25103, corrected by #27491; a defect of the released 0.5.12.post1).
#
# Expect: on 0.5.12.post1 the draft reads and writes SWA slots of a pool that is addressed
# by full slots; no address leaves the pool, so nothing crashes and the accept length falls.
# The trap stops at the first launch; --fix draft-own-pool gives the tables of 0.5.13.post1.
# In the lab that very wheel runs. On sm_100 / sm_103 the installed SGLang serves a hybrid
# model with an EAGLE draft; a fixed one runs clean and the exit code is 0. The two models
# and the draft's steps are those of SGLang's documentation of gpt-oss and of its nightly
# test of the 120b model (--attention-backend differs: there fa3 or triton).
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about a minute in the lab.

set -euo pipefail
NAME=eagle_draft_pool
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

FIX=draft-own-pool
BROKEN=0.5.12.post1
SOUND=0.5.13.post1
MODEL=${MODEL:-openai/gpt-oss-120b}
DRAFT_MODEL=${DRAFT_MODEL:-lmsys/EAGLE3-gpt-oss-120b-bf16}
SERVER=(
    --model-path "$MODEL"
    --attention-backend trtllm_mha
    --page-size 64
    --context-length 16384
    --speculative-algorithm EAGLE3
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

digest() { sed -n 's/.*tables sha256 //p' "$1"; }

if [ "$WHERE" = lab ]; then
    lab=("${TRIAGE[@]}" lab run smoke-eagle --dir "$OUT/dumps" --sglang)
    step trap "${lab[@]}" "$BROKEN"
    expect 1 "the trap stops the first launch over the wrong table"
    dump=$(newest_dump)
    step explain "${TRIAGE[@]}" explain "$dump"
    expect 0 "the dump can be read"
    step fixed "${lab[@]}" "$BROKEN" --fix "$FIX"
    expect 0 "with $FIX every launch reads what it should"
    fixed=$LOG
    step reference "${lab[@]}" "$SOUND"
    expect 0 "$SOUND runs clean"
    [ "$(digest "$fixed")" = "$(digest "$LOG")" ] ||
        fail "$EXIT_DIFFERENT" "tables with $FIX differ from those of $SOUND"
    finding "$EXIT_REPRODUCED" "with $FIX every table equals that of $SOUND"
fi

serve trapped SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_DIR="$OUT/dumps"
bench trapped
stop_server
dump=$(newest_dump)
[ -n "$dump" ] || finding "$EXIT_CLEAN" "no trap fired; this SGLang keeps the draft's pool apart"
step explain "${TRIAGE[@]}" explain "$dump"
serve fixed SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_DIR="$OUT/dumps" \
    SGLANG_TRIAGE_FIXES="$FIX"
bench fixed
expect 0 "with $FIX the server carries the load, traps on"
stop_server
finding "$EXIT_REPRODUCED" "with $FIX no trap fires"
