#!/usr/bin/env bash
# Gemma-4-E4B with its MTP assistant on the trtllm_mha backend: an illegal memory access
# under 80 requests of 8k in / 1k out (sgl-project/sglang#26957).
#
# Expect: without a trap, a fault some thousand launches after the first wrong page id.
# With the trap, an exception at that first launch and a dump; `triage explain` names
# stale SWA state; --fix clamp leaves wrong pages; --fix state-swap removes the failure.
# The crash needs an SGLang with the defect (May 2026); released wheels have the fix, so it
# is re-injected first, in the lab and in a real server (`triage lab serve`, Hopper and
# Blackwell). There a wrong id may land in mapped memory: then nothing faults, the answers
# are wrong, and only the trap says so.
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
SERVE=(E4B --mtp)
FLAGS=()

repro_begin "$@"
crash_story
