#!/usr/bin/env bash
# Gemma-4-31B (dense) with the SWA ratio that is right for the MoE variant.
#
# Expect: at --swa-full-tokens-ratio 0.15 the SWA pool is the limit and a running batch
# saturates it; at the default 0.8 it is not. In the lab that is arithmetic on the model's
# geometry, for 31B and for 26B-A4B, where 0.15 is right; and SGLang's own configurator
# with the fix swa-ratio. On a GPU servers (`triage lab serve`) of either ratio carry 40
# prompts at concurrency 32, the default's before and after the other (reported for 1k in /
# 1k out on weights: 1135 and 4715 tok/s; a small model has memory to spare and shows no
# difference).
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about half a minute in the lab.

set -euo pipefail
NAME=gemma4_31b_swa_ratio
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

SERVE=(31B --requests 40)
FLAGS=(--swa-full-tokens-ratio 0.15 --max-total-tokens 10000000)
# KV memory of the report's server, from its published pools: 132,992 tokens at ratio 0.8.
KV_BYTES=98052341760

repro_begin "$@"

if [ "$WHERE" = lab ]; then
    pools=("${TRIAGE[@]}" pools --mem "$KV_BYTES" --input 1024 --output 1024)
    step 31b "${pools[@]}" --config "$REPROS/configs/gemma4-31b.json" --ratio 0.15 --ratio 0.8
    expect 0 "the pools of the dense variant can be worked out"
    small=$(grep ' 0.150 ' "$LOG" || grep '^ *0.150' "$LOG")
    step 26b "${TRIAGE[@]}" pools --mem 109477969920 --page-size 1 \
        --config "$REPROS/configs/gemma4-26b-a4b.json" --ratio 0.15 --ratio 0.8
    expect 0 "the pools of the MoE variant can be worked out"
    step fix "${TRIAGE[@]}" verify swa-ratio
    expect 0 "the fix changes the MoE variant's pools and not the dense one's"
    case $small in
        *"SWA pool"*) finding "$EXIT_REPRODUCED" "at 0.15 the SWA pool of the dense variant is the limit:$small" ;;
    esac
    finding "$EXIT_CLEAN" "at 0.15 the full pool is still the limit:$small"
fi

# The first server of all compiles kernels under its load, so the default runs before and after.
small=("${FLAGS[@]}")
FLAGS=(--swa-full-tokens-ratio 0.8 "${FLAGS[@]:2}")
serve ratio-default --mode off
expect_clean "the load runs at the default ratio"
first=$(served_figure tokens_per_s)
FLAGS=("${small[@]}")
serve ratio-015 --mode off
expect_clean "the load runs at ratio 0.15"
slow=$(served_figure tokens_per_s)
FLAGS=(--swa-full-tokens-ratio 0.8 "${FLAGS[@]:2}")
serve ratio-default-again --mode off
expect_clean "the load runs at the default ratio once more"
last=$(served_figure tokens_per_s)
# The report's servers differ by a factor of four; two short loads differ by chance too.
if awk "BEGIN { least = $first < $last ? $first : $last; exit !($slow < 0.7 * least) }"; then
    finding "$EXIT_REPRODUCED" "ratio 0.15 gives $slow tok/s, the default $first before it and $last after it"
fi
finding "$EXIT_CLEAN" "ratio 0.15 gives $slow tok/s, the default $first before it and $last after it: no harm seen"
