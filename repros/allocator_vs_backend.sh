#!/usr/bin/env bash
# Is it the allocator or the backend? The experiment that cleared the allocator.
#
# Expect: the same requests run on two of SGLang's backends, with the same defect in the
# process. The allocator trap watches every slot that alloc_extend and alloc_decode return
# and fires on neither side. On triton every index that its metadata builder makes is the
# right one; on trtllm_mha the launch faults on a SWA pool that is far from exhausted. So
# what is wrong is the translation, not the allocation. In the lab both builders are
# SGLang's own and the kernels below them are stood in for. On sm_100 / sm_103 the same
# load runs on two servers (reported SWA use: triton 1.00, trtllm_mha 0.83 to 0.86).
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: about two minutes in the lab, half a minute with --quick.

set -euo pipefail
NAME=allocator_vs_backend
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

MODEL=${MODEL:-google/gemma-4-E4B-it}
DRAFT_MODEL=${DRAFT_MODEL:-google/gemma-4-E4B-it-assistant}
SERVER=(
    --model-path "$MODEL"
    --page-size 64
    --context-length 16384
    --mem-fraction-static 0.85
    --speculative-algorithm NEXTN
    --speculative-draft-model-path "$DRAFT_MODEL"
    --speculative-num-steps 3
    --speculative-num-draft-tokens 4
    --speculative-eagle-topk 1
    --attention-backend trtllm_mha
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

guard=(SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_CHECKS=I20 SGLANG_TRTLLM_MHA_DEBUG_DIR="$OUT/dumps")
# Nothing where the server logged no use.
swa_use() { sed -nE 's/.*swa token usage: ([0-9.]+).*/\1/p' "$SERVER_LOG" | sort -n | tail -n 1; }
serve trtllm_mha "${guard[@]}"
bench trtllm_mha
faulted=0
server_faulted && faulted=1
trtllm=$(swa_use)
stop_server
SERVER[${#SERVER[@]}-1]=triton
serve triton "${guard[@]}"
bench triton
expect 0 "the triton backend carries the load"
triton=$(swa_use)
stop_server
say "SWA use at its peak: trtllm_mha ${trtllm:-unknown}; triton ${triton:-unknown}"
[ -z "$(newest_dump)" ] || fail "$EXIT_DIFFERENT" "the allocator trap fired: the allocator is not sound"
[ "$faulted" = 0 ] || finding "$EXIT_REPRODUCED" "trtllm_mha faults, triton does not, the allocator is sound on both"
finding "$EXIT_CLEAN" "neither backend faults; this SGLang does not have the defect"
