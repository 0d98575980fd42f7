#!/usr/bin/env bash
# Gemma-4-E4B with its MTP assistant on the trtllm_mha backend: an illegal memory access
# under 80 requests of 8k in / 1k out (sgl-project/sglang#26957).
#
# Expect: without a trap, a fault some thousand launches after the first wrong page id.
# With the trap, an exception at that first launch and a dump; `triage explain` names
# stale SWA state; --fix clamp leaves wrong pages; --fix state-swap removes the failure.
# The crash needs an SGLang with the defect (May 2026); released wheels have the fix, so
# in the lab it is put back first. On sm_100 / sm_103 the server runs as it is installed:
# a fixed one survives and the exit code is 0.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about three minutes in the lab, one with --quick.

set -euo pipefail
NAME=gemma4_e4b_oob
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"
# shellcheck source=lib/crash.sh
source "$(dirname "$0")/lib/crash.sh"

SCENARIO=gemma4-e4b-summarisation
DEFECT=stale-swa-state
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
crash_story
