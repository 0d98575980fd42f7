#!/usr/bin/env bash
# Is it the allocator or the backend? The experiment that cleared the allocator.
#
# Expect: the same requests run on two of SGLang's backends, with the same defect in the
# process. The allocator trap watches every slot that alloc_extend and alloc_decode return
# and fires on neither side. On triton every index that its metadata builder makes is the
# right one; on trtllm_mha the launch faults on a SWA pool that is far from exhausted. So
# what is wrong is the translation, not the allocation. In the lab both builders are
# SGLang's own and the kernels below them are stood in for. On a GPU two real servers
# (`triage lab serve`) run with the defect re-injected: on triton throughout the full traps
# stay silent, on trtllm_mha the allocator's stay silent and those of the page table fire.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about two minutes in the lab, half a minute with --quick.

set -euo pipefail
NAME=allocator_vs_backend
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

SERVE=(E4B --mtp)
FLAGS=()

repro_begin "$@"

# figure LOG NAME: one figure of a lab report in JSON.
figure() {
    "$PYTHON" -c 'import json, sys
report = json.loads(open(sys.argv[1]).read().splitlines()[-1])
for part in sys.argv[2].split("."):
    report = (report or {}).get(part, 0)
print(report)' "$1" "$2"
}

if [ "$WHERE" = lab ]; then
    scenario=gemma4-e4b-summarisation
    [ "$QUICK" = 0 ] || scenario=smoke
    lab=("${TRIAGE[@]}" lab run "$scenario" --checks I20 --json --dir "$OUT/dumps")
    lab+=(--reinject stale-swa-state)
    step triton "${lab[@]}" --backend triton
    expect 0 "on triton the requests run to their end"
    triton=$LOG
    step trtllm "${lab[@]}"
    expect 1 "on trtllm_mha the emulated GPU faults"
    for log in "$triton" "$LOG"; do
        [ "$(figure "$log" trap_counts.violations)" = 0 ] ||
            fail "$EXIT_DIFFERENT" "the allocator trap fired: the allocator is not sound ($log)"
    done
    [ "$(figure "$triton" wrong_launches)" = 0 ] ||
        fail "$EXIT_DIFFERENT" "triton read a wrong index: the translation is not what differs"
    say ""
    say "allocator calls checked: $(figure "$triton" trap_counts.allocations) and $(figure "$LOG" trap_counts.allocations), none wrong"
    say "SWA use at its peak: $(figure "$triton" peak_swa_fill) on triton, $(figure "$LOG" peak_swa_fill) on trtllm_mha at the fault"
    say "triton: $(figure "$triton" launches) kernel calls, no wrong index"
    finding "$EXIT_REPRODUCED" "$(figure "$LOG" outcome) at launch $(figure "$LOG" fault.launch) on trtllm_mha, none on triton, and the allocator returned no illegal slot"
fi

export SGLANG_TRTLLM_MHA_DEBUG_CHECKS=allocator,lifecycle
serve trtllm-allocator --defect stale-swa-state
said trapped && fail "$EXIT_DIFFERENT" "an allocator trap fired: the allocator is not sound ($LOG)"
unset SGLANG_TRTLLM_MHA_DEBUG_CHECKS
serve triton --defect stale-swa-state --attention triton
expect_clean "the triton backend carries the load, no trap fires"
serve trtllm --defect stale-swa-state
[ "$CODE" != 0 ] || finding "$EXIT_CLEAN" "neither backend fails: the defect has no effect on this SGLang"
said trapped || fail "$EXIT_DIFFERENT" "the server ended without a trap ($LOG)"
finding "$EXIT_REPRODUCED" "trtllm_mha is given wrong page ids, triton is not, and the allocator is sound on both"
