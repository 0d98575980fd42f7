#!/usr/bin/env bash
# Gemma-4-26B-A4B with its MTP assistant on the trtllm_mha backend: the same defect as in
# gemma4_e4b_oob.sh on a model with 25 sliding and 5 full layers and a window of 1024.
#
# Expect: without a trap wrong pages from the first draft after the pools part company, and
# a fault once full-pool ids pass the end of the SWA pool; with the trap an exception at the
# first wrong launch; --fix state-swap removes both. Where page ids were clamped into the cache
# instead, the accept length fell from 2.84 to 1.67.
# The defect is re-injected first, in the lab and in a real server (`triage lab serve`, Hopper
# and Blackwell); there a wrong id in mapped memory does not fault, and only the trap sees it.
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
SERVE=(26B-A4B --mtp)
FLAGS=()

repro_begin "$@"
crash_story
