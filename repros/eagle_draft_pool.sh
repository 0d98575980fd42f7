#!/usr/bin/env bash
# An EAGLE draft with a KV pool of its own, translated through the target's SWA mapping
# (sgl-project/sglang#25103, corrected by #27491; a defect of the released 0.5.12.post1).
#
# Expect: on 0.5.12.post1 the draft reads and writes SWA slots of a pool that is addressed
# by full slots; no address leaves the pool, so nothing crashes and the accept length falls.
# The trap stops at the first launch; --fix draft-own-pool gives the tables of 0.5.13.post1.
# In the lab that very wheel runs. On a GPU the installed SGLang serves a hybrid model with
# an EAGLE draft of its own, which no made model has: give --weights and --draft-weights,
# such as openai/gpt-oss-120b and lmsys/EAGLE3-gpt-oss-120b-bf16, which SGLang documents
# together. A fixed SGLang runs clean and the exit code is 0.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about a minute in the lab.

set -euo pipefail
NAME=eagle_draft_pool
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

FIX=draft-own-pool
BROKEN=0.5.12.post1
SOUND=0.5.13.post1
SERVE=(E4B --load plain)
FLAGS=(--speculative-algorithm EAGLE3 --speculative-num-steps 3 --speculative-num-draft-tokens 4 --speculative-eagle-topk 1)

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

[ "${#WEIGHTS[@]}" = 4 ] ||
    fail "$EXIT_CANNOT_RUN" "an EAGLE draft of its own needs --weights and --draft-weights; without, use --lab"
FLAGS+=(--speculative-draft-model-path "${WEIGHTS[3]}")
serve trapped
[ "$CODE" != 0 ] || finding "$EXIT_CLEAN" "no trap fired; this SGLang keeps the draft's pool apart"
said trapped || fail "$EXIT_DIFFERENT" "the server ended without a trap ($LOG)"
step explain "${TRIAGE[@]}" explain "$(newest_dump trapped/dumps)"
serve fixed --fix "$FIX"
expect_clean "with $FIX the server carries the load, traps on"
finding "$EXIT_REPRODUCED" "with $FIX no trap fires"
