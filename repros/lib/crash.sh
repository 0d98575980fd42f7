# shellcheck shell=bash
# The story of one crash, in the lab or on a real server: fault, trap, dump, explain,
# replay, the clamp that hides it, the fix that removes it.
#
# Needs from the script: NAME, SCENARIO, DEFECT, FIX, SERVE, FLAGS; common.sh sourced.

crash_story() {
    if [ "$WHERE" = lab ]; then crash_in_lab; else crash_on_server; fi
}

crash_in_lab() {
    local lab scenario=$SCENARIO
    STEPS=8
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
    finding "$EXIT_REPRODUCED" "with $FIX every table equals that of an SGLang without the defect" "$DUMP"
}

# Ten lines for a reader in a hurry, every figure taken from the logs of this run.
tell_story() {
    local fault=$1 trapped=$2 clamped=$3 fixed=$4
    say ""
    say "The story, $(sed -n '1s/ (.*//p' "$fault") on $(sed -n '1s/.*\(SGLang [^,]*\),.*/\1/p' "$fault"), CPU lab:"
    say "  1. defect    $DEFECT re-injected (sgl-project/sglang#26957)"
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

# judge_dump [FOLDER]: explain and replay the newest dump, $DUMP, as it is and with the fix.
judge_dump() {
    local folder=${1:-dumps}
    DUMP=$(newest_dump "$folder")
    [ -n "$DUMP" ] || fail "$EXIT_DIFFERENT" "the trap fired, but no dump is in $OUT/$folder"
    step explain "${TRIAGE[@]}" explain "$DUMP"
    expect 0 "the dump can be read"
    step replay "${TRIAGE[@]}" replay "$DUMP"
    expect 1 "the recorded launch is wrong again"
    step "replay-$FIX" "${TRIAGE[@]}" replay "$DUMP" --fix "$FIX"
    expect 0 "with $FIX the same launch reads what it should"
}

# Without a trap a real server either dies of the fault or, where every wrong id lands in
# mapped memory, answers from pages that are not its own and nobody is told.
crash_on_server() {
    local untrapped fixed
    serve untrapped --mode off --defect "$DEFECT"
    case $CODE in
        0) untrapped="the server lives, and nothing says that it reads wrong pages" ;;
        1)
            said fault || fail "$EXIT_DIFFERENT" "the server ended badly, but not by a fault ($LOG)"
            untrapped="the server dies of an illegal memory access"
            ;;
        *) expect 0 "the server starts and takes its load" ;;
    esac
    serve trapped --defect "$DEFECT"
    if [ "$CODE" = 0 ]; then
        finding "$EXIT_CLEAN" "no trap fired: $DEFECT has no effect on this SGLang"
    fi
    expect 1 "the trap stops the first wrong step"
    said trapped || fail "$EXIT_DIFFERENT" "the server ended without a trap ($LOG)"
    judge_dump trapped/dumps
    serve fixed --defect "$DEFECT" --fix "$FIX"
    expect_clean "with $FIX and the traps on, the same requests are answered"
    fixed=$(served_figure digest)
    serve sound --mode off
    expect_clean "an SGLang without the defect answers the same requests"
    say ""
    say "without a trap: $untrapped"
    if [ "$fixed" = "$(served_figure digest)" ]; then
        say "every answer with $FIX is that of an SGLang without the defect"
    else
        say "answers with $FIX differ from those without the defect in some token"
    fi
    finding "$EXIT_REPRODUCED" "with $FIX the server carries the same load, traps on" "$DUMP"
}
