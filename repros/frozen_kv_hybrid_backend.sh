#!/usr/bin/env bash
# Gemma-4 E4B with its frozen-KV MTP draft, one attention backend for prefill and another for
# decode, and none named for the draft: its first step asks the wrong pool (0.5.14 to 0.5.23).
#
# Expect: the draft's backend is a hybrid of two. The frozen-KV view lends the target's pool
# to the hybrid, and the backends inside, which launch, keep the draft's own, which has not
# got the target's layers: IndexError in get_key_buffer. In the lab the real views and the
# real hybrid play that on 0.5.23, without and with a patch. On a GPU a real server
# (`triage lab serve`) is started without --speculative-draft-attention-backend, on a GPU
# that needs two backends (sm_90, sm_120); where it answers, its SGLang has not got the defect.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: half a minute in the lab.

set -euo pipefail
NAME=frozen_kv_hybrid_backend
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

PATCH=frozen-kv-view-misses-the-hybrid-backends-pool-0.5.23
SERVE=(E4B --mtp --requests 4 --mode off)
FLAGS=()

repro_begin "$@"

if [ "$WHERE" = lab ]; then
    play_patch "$PATCH"
    grep -q "assertIs(backend.token_to_kv_pool, target)" "$RELEASED" ||
        fail "$EXIT_DIFFERENT" "the test fails for another reason ($RELEASED)"
    finding "$EXIT_REPRODUCED" "the backends inside keep the draft's own pool; with the patch they are lent the target's"
fi

serve hybrid --without --speculative-draft-attention-backend
if [ "$CODE" = 0 ]; then
    finding "$EXIT_CLEAN" "this SGLang lends the pool to the backends inside too"
fi
said=$(dead_of "get_key_buffer|get_kv_buffer" 'IndexError')
finding "$EXIT_REPRODUCED" "the server dies in get_key_buffer: $said"
