#!/usr/bin/env bash
# Gemma-4 E4B with its frozen-KV MTP draft and CUDA graphs: SGLang 0.5.14 dies behind a lone
# request whose prompt has more tokens than the largest graph has requests (fixed in 0.5.15.post1).
#
# Expect: the draft's batch still carries the slots that the target's prefill wrote to, one
# for each prompt token, until requests join or leave it. Before a replay trtllm_mha copies
# them into a buffer of one for each request of the largest graph. In the lab the real
# worker, graph runner, view and backend play that on 0.5.14, without and with the patch that
# sets the slots to None, as 0.5.15.post1 does. On a GPU a real server (`triage lab serve`)
# is sent one request of 512 to 1,024 tokens, its largest graph having 32 requests, without
# and with the fix; where it answers without, its SGLang has not got the defect.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: half a minute in the lab.

set -euo pipefail
NAME=frozen_kv_graph_draft
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

PATCH=frozen-kv-draft-carries-stale-slots-0.5.14
SERVE=(E4B --mtp --requests 1 --mode off)
FLAGS=()

repro_begin "$@"

if [ "$WHERE" = lab ]; then
    play_patch "$PATCH"
    said=$(grep -A 1 "cuda_graph_swa_out_cache_loc\[:n\].copy_" "$RELEASED" |
        sed -n 's/^RuntimeError: //p' | head -n 1)
    [ -n "$said" ] || fail "$EXIT_DIFFERENT" "the test fails for another reason ($RELEASED)"
    finding "$EXIT_REPRODUCED" "cuda_graph_swa_out_cache_loc: $said; with the patch the graph is replayed"
fi

serve graphs
if [ "$CODE" = 0 ]; then
    finding "$EXIT_CLEAN" "this SGLang hands its draft no slots"
fi
said=$(dead_of "_init_frozen_kv_metadata_replay_cuda_graph" 'size of tensor a')
serve fixed --fix slotless-draft
expect_clean "with slotless-draft the request is answered"
finding "$EXIT_REPRODUCED" "the server dies before a replay: $said; with slotless-draft it answers"
