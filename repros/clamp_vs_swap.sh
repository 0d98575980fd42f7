#!/usr/bin/env bash
# Two remedies for the same crash: clamp the page ids, or swap the SWA state.
#
# Expect: both end the fault. The clamp redirects in-window reads to another request's
# page and leaves most wrong ids alone, which are inside the pool already: the draft reads
# keys that are not its own, and the accept length falls (reported: 2.13 -> 1.61 on E4B,
# 2.84 -> 1.67 on 26B). The swap gives the tables of an SGLang without the defect.
# The clamp is here to be measured. On a GPU a real server (`triage lab serve`) is trapped,
# both remedies are replayed on its dump, and both run: the clamp ends no wrong read.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about five minutes in the lab, two with --quick.

set -euo pipefail
NAME=clamp_vs_swap
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

FIX=state-swap
SERVE=(E4B --mtp)
FLAGS=()

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

serve trapped --defect stale-swa-state
[ "$CODE" != 0 ] || finding "$EXIT_CLEAN" "no trap fired: the defect has no effect on this SGLang"
expect 1 "the trap stops the first wrong step"
dump=$(newest_dump trapped/dumps)
[ -n "$dump" ] || fail "$EXIT_DIFFERENT" "the server ended without a dump ($LOG)"
step replay-clamp "${TRIAGE[@]}" replay "$dump" --fix clamp
step "replay-$FIX" "${TRIAGE[@]}" replay "$dump" --fix "$FIX"
expect 0 "with $FIX the recorded launch reads what it should"
serve clamped --mode off --defect clamp
expect_clean "clamped, the server lives"
clamped=$(served_figure accept_length)
serve swapped --defect stale-swa-state --fix "$FIX"
expect_clean "with $FIX the server lives and no trap fires"
say ""
say "accepted tokens a verify step: clamped ${clamped:-unknown}, $FIX $(served_figure accept_length)"
finding "$EXIT_REPRODUCED" "both end the fault; only with $FIX the traps find nothing"
