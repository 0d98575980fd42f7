# shellcheck shell=bash
# The story of one crash, in the lab or on a real server: fault, trap, dump, explain,
# replay, the clamp that hides it, the fix that removes it.
#
# Needs from the script: NAME, SCENARIO, DEFECT, FIX, SERVER, BENCH; common.sh sourced.

crash_story() {
    if [ "$WHERE" = lab ]; then crash_in_lab; else crash_on_server; fi
}

crash_in_lab() {
    local lab scenario=$SCENARIO
    [ "$QUICK" = 0 ] || scenario=smoke
    lab=("${TRIAGE[@]}" lab run "$scenario" --reinject "$DEFECT")
    beside "${TRIAGE[@]}" lab run "$scenario" --dir "$OUT/dumps"
    step fault "${lab[@]}" --no-trap
    expect 1 "without a trap the emulated GPU faults"
    local fault=$LOG
    grep -q FAULT "$LOG" || fail "$EXIT_DIFFERENT" "the run ended badly, but not by a fault ($LOG)"
    step trap "${lab[@]}" --dir "$OUT/dumps"
    expect 1 "the trap stops the first wrong launch"
    local trapped=$LOG
    judge_dump
    step bounds "${lab[@]}" --dir "$OUT/bounds" --checks I1,I20
    expect 1 "bounds alone stop the launch that would have faulted"
    step replay-clamp "${TRIAGE[@]}" replay "$(newest_dump bounds)" --fix clamp
    expect 4 "clamped ids stay inside the cache and are still the wrong pages"
    local clamped=$LOG
    step fixed "${lab[@]}" --fix "$FIX" --dir "$OUT/dumps"
    expect 0 "with $FIX and the traps on, the same requests run to their end"
    local fixed=$LOG
    end_beside
    expect 0 "an SGLang without the defect runs clean"
    [ "$(digest "$fixed")" = "$(digest "$LOG")" ] ||
        fail "$EXIT_DIFFERENT" "tables with $FIX differ from those of an SGLang without the defect"
    tell_story "$fault" "$trapped" "$clamped" "$fixed"
    finding "$EXIT_REPRODUCED" "with $FIX every table equals that of an SGLang without the defect"
}

# Ten lines for a reader in a hurry, every figure taken from the logs of this run.
tell_story() {
    local fault=$1 trapped=$2 clamped=$3 fixed=$4
    say ""
    say "The story, $(sed -n '1s/ (.*//p' "$fault") on $(sed -n '1s/.*\(SGLang [^,]*\),.*/\1/p' "$fault"), CPU lab:"
    say "  1. defect    $DEFECT put back (sgl-project/sglang#26957)"
    say "  2. untrapped $(sed -n 's/^ *\(ids were first wrong at launch [0-9]*\).*/\1/p' "$fault"), read on and on"
    say "  3. crash     $(sed -n 's/^ *\(fault at launch .*full now\).*/\1/p' "$fault") (emulated)"
    say "  4. trapped   before $(sed -n 's/.*(decode \(launch [0-9]*, layer [0-9]*\).*/\1/p' "$trapped"):$(sed -n 's/^ *\(block_tables.*\)/ \1/p' "$trapped")"
    say "  5. explained $(head -n 1 "$OUT"/*-explain.log)"
    say "  6. clamp     no fault, but $(sed -n '/^ *the output is wrong/{s/^ *the output is //p;q}' "$clamped")"
    say "  7. $FIX $(sed -n '/^ *the output equals/{s/^ *//p;q}' "$OUT"/*-replay-"$FIX".log)"
    say "  8. fixed     $(sed -n 's/^ *\([0-9]* launches.*requests done\).*/\1/p' "$fixed"), none trapped"
    say "  9. equal     tables $(digest "$fixed"), as without the defect"
}

digest() { sed -n 's/.*tables sha256 //p' "$1"; }

# explain and replay the newest dump, as it is and under both remedies.
judge_dump() {
    local dump
    dump=$(newest_dump)
    [ -n "$dump" ] || fail "$EXIT_DIFFERENT" "the trap fired, but no dump is in $OUT/dumps"
    step explain "${TRIAGE[@]}" explain "$dump"
    expect 0 "the dump can be read"
    step replay "${TRIAGE[@]}" replay "$dump"
    expect 1 "the recorded launch is wrong again"
    step "replay-$FIX" "${TRIAGE[@]}" replay "$dump" --fix "$FIX"
    expect 0 "with $FIX the same launch reads what it should"
}

crash_on_server() {
    serve unguarded SGLANG_TRIAGE_FIXES=
    bench unguarded
    if ! server_faulted; then
        stop_server
        finding "$EXIT_CLEAN" "the server survived the load; this SGLang does not have the defect ($SERVER_LOG)"
    fi
    say "the server died: $(last_words)"
    stop_server
    serve trapped SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_DIR="$OUT/dumps"
    bench trapped
    stop_server
    judge_dump
    serve fixed SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_DIR="$OUT/dumps" \
        SGLANG_TRIAGE_FIXES="$FIX"
    bench fixed
    if [ "$CODE" != 0 ] || ! server_alive; then
        fail "$EXIT_DIFFERENT" "with $FIX the server still fails: $(last_words)"
    fi
    stop_server
    finding "$EXIT_REPRODUCED" "with $FIX the server carries the same load"
}
