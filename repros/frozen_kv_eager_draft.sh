#!/usr/bin/env bash
# Gemma-4 E4B with its frozen-KV MTP draft and no CUDA graphs: SGLang 0.5.14 dies in its
# first draft step (fixed in 0.5.15.post1).
#
# Expect: the draft's batch still carries the slots that the target's prefill wrote to, one
# for each prompt token. Without graphs the eager runner copies it into static buffers, and
# fill_from copies those slots into one for each request. In the lab the real worker's draft
# and the real buffers play that on 0.5.14, without and with the patch that sets the slots
# to None, as 0.5.15.post1 does. On a GPU a real server (`triage lab serve`) is started
# with --disable-cuda-graph; where it answers, its SGLang has not got the defect.
# Exit code: 1 reproduced, 0 not; all codes and options are in repros/lib/common.sh.
# Time: half a minute in the lab.

set -euo pipefail
NAME=frozen_kv_eager_draft
# shellcheck source=lib/common.sh
source "$(dirname "$0")/lib/common.sh"

PATCH=frozen-kv-draft-carries-stale-slots-0.5.14
SERVE=(E4B --mtp --requests 4 --mode off)
FLAGS=(--disable-cuda-graph)

repro_begin "$@"

if [ "$WHERE" = lab ]; then
    play_patch "$PATCH"
    said=$(sed -n 's/^RuntimeError: //p' "$RELEASED" | head -n 1)
    [ -n "$said" ] || fail "$EXIT_DIFFERENT" "the test fails for another reason ($RELEASED)"
    finding "$EXIT_REPRODUCED" "fill_from: $said; with the patch the draft's inputs fit"
fi

serve eager
if [ "$CODE" = 0 ]; then
    finding "$EXIT_CLEAN" "this SGLang drafts without CUDA graphs"
fi
said=$(dead_of "fill_from" 'size of tensor|broadcast shape|foreach')
finding "$EXIT_REPRODUCED" "the server dies in fill_from: $said"
