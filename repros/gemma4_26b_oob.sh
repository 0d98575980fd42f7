#!/usr/bin/env bash
# Gemma-4-26B-A4B with its MTP assistant on the trtllm_mha backend: the same defect as in
# gemma4_e4b_oob.sh on a model with 25 sliding and 5 full layers and a window of 1024.
#
# Expect: without a trap wrong pages from the first draft after the pools part company, and
# a fault once full-pool ids pass the end of the SWA pool; with the trap an exception at the
# first wrong launch; --fix state-swap removes both. Where page ids were clamped into the cache
# instead, the accept length fell from 2.84 to 1.67.
# In the lab the defect is put back first. On sm_100 / sm_103 the server runs as it is
# installed: a fixed one survives and the exit code is 0.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about three minutes in the lab, one with --quick.

set -euo pipefail
NAME=gemma4_26b_oob
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"
# shellcheck source=lib/crash.sh
source "$(dirname "$0")/lib/crash.sh"

SCENARIO=gemma4-26b-summarisation
DEFECT=stale-swa-state
FIX=state-swap
MODEL=${MODEL:-google/gemma-4-26B-A4B-it}
DRAFT_MODEL=${DRAFT_MODEL:-google/gemma-4-26B-A4B-it-assistant}
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
