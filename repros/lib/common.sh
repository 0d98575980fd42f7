# shellcheck shell=bash
# What every reproducer shares: options, where to run, a real server's life, exit codes.
#
# A script sets NAME, sources this file and calls `repro_begin "$@"`. Then
#   $WHERE      lab (SGLang's real classes on a CPU) or server (`triage lab serve` on a GPU)
#   $OUT        this run's directory: one log per step, dumps in $OUT/dumps
#   $QUICK      1 when the caller asked for the smallest lab scenario
#
# Options of every script:
#   --dry-run         print the plan of the server for Blackwell and for Hopper, have SGLang's
#                     own argument parser check the script's flags, run nothing
#   --lab             run in the lab even where a GPU is present
#   --server          run a real server even where no GPU is found
#   --weights PATH    serve this checkpoint instead of a small model made on the spot
#   --draft-weights PATH   the assistant's, or the draft's, where the script has one
#   --quick           lab: the two-second scenario instead of the scaled model
#   --dir DIR         where logs and dumps go (default: a new directory under /tmp)
#   --port PORT       port of the server (default 30000)
#   -h, --help        the script's header
#
# Exit codes, like those of `triage replay`, but 0 where the failure did not show:
#   0    ran to the end, the failure did not show
#   1    the failure is reproduced, and the rest of the story holds
#   2    usage, stale server flags, or a port in use
#   3    cannot run here (no SGLang, no GPU, no such release, the server never got healthy)
#   4    a different outcome: another failure, or one that the fix does not remove
#   130  stopped by Ctrl-C (143 by TERM); what was started is stopped, logs are kept
#
# Environment: PYTHON (interpreter).

readonly EXIT_CLEAN=0 EXIT_REPRODUCED=1 EXIT_USAGE=2 EXIT_CANNOT_RUN=3 EXIT_DIFFERENT=4

REPROS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(dirname "$REPROS")
STEP_PID=""
BESIDE_PID=""
TICK_PID=""
STEP=0
STEPS=""

repro_begin() {
    local where="" dry=0 given=("$@")
    OUT="" QUICK=0 PORT=30000
    WEIGHTS=() MADE=(--small)
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) dry=1 ;;
            --lab) where=lab ;;
            --server) where=server ;;
            --quick) export QUICK=1 ;;
            --weights | --draft-weights) need_value "$@"; WEIGHTS+=("$1" "$2"); MADE=(); shift ;;
            --dir) need_value "$@"; OUT=$2; shift ;;
            --port) need_value "$@"; PORT=$2; shift ;;
            -h | --help) header; exit "$EXIT_CLEAN" ;;
            *) fail "$EXIT_USAGE" "unknown option $1 (see $0 --help)" ;;
        esac
        shift
    done
    # A shell that was started with SIGINT ignored, as nohup and a script's background job
    # are, cannot catch it: begin again in one that can.
    if [[ $(trap -p INT) == "trap -- '' SIGINT" ]]; then
        exec env --default-signal=INT "$BASH" "$0" "${given[@]}"
    fi
    case $PORT in *[!0-9]* | "") fail "$EXIT_USAGE" "--port takes a number, not '$PORT'" ;; esac
    PYTHON=${PYTHON:-$(find_python)}
    TRIAGE=("$PYTHON" -m triage)
    if [ $dry = 1 ]; then
        dry_run
    fi
    WHERE=${where:-$(detect)}
    OUT=${OUT:-$(mktemp -d "/tmp/$NAME.XXXXXX")}
    mkdir -p "$OUT" || fail "$EXIT_USAGE" "cannot create $OUT"
    # A step of the script itself that fails must not look like "reproduced", which is 1.
    set -E
    trap 'fail "$EXIT_DIFFERENT" "line $LINENO failed: $BASH_COMMAND"' ERR
    trap 'stopped 130' INT
    trap 'stopped 143' TERM
    trap stop_all EXIT
    say "$NAME: $(where_sentence)"
    say "logs and dumps: $OUT"
}

# -- words -----------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }

fail() {
    local code=$1
    shift
    printf '%s: %s\n' "$NAME" "$*" >&2
    exit "$code"
}

# finding CODE SENTENCE [DUMP]: end with what this run found, and what to type on it.
finding() {
    local word="NOT REPRODUCED"
    [ "$1" != "$EXIT_REPRODUCED" ] || word=REPRODUCED
    say ""
    say "$word: $2"
    if [ -n "${3:-}" ]; then tell_next "$3"; fi
    exit "$1"
}

# `triage` as the shell that called us finds it: `make` puts .venv/bin in front for us alone.
tell_next() {
    local quoted
    printf -v quoted %q "$1"
    say ""
    if [ -x "$ROOT/.venv/bin/triage" ]; then
        say "next: . .venv/bin/activate     then \`triage\` is a command of this shell, here:"
    else
        say "next, as \`triage\` or \`$PYTHON -m triage\`:"
    fi
    say "  triage show $quoted"
    say "  triage report $quoted -o $OUT/page.html"
    say "docs/tutorial.md goes on to a test in SGLang's tree"
}

need_value() { [ $# -ge 2 ] || fail "$EXIT_USAGE" "$1 needs a value"; }

# The comment block at the top of the script, without the interpreter line.
header() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    echo
    echo "Options:"
    sed -n '/^# Options of every script:/,/^# Exit codes/{/^#   /s/^# //p}' "${BASH_SOURCE[0]}"
}

where_sentence() {
    if [ "$WHERE" = lab ]; then
        say "lab on this machine's CPU (no GPU asked for or found)"
    else
        say "a real server on this machine's GPU, ${MADE:+with a small model made on the spot}${WEIGHTS:+of ${WEIGHTS[1]}}"
    fi
}

# -- where -----------------------------------------------------------------------------

find_python() {
    if [ -x "$ROOT/.venv/bin/python" ]; then
        say "$ROOT/.venv/bin/python"
    else
        command -v python3 || say python
    fi
}

# "server" where the first GPU is one that SGLang's trtllm_mha decodes on.
detect() {
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) || true
    case $capability in
        9.0 | 10.0 | 10.3 | 12.0 | 12.1) say server ;;
        *) say lab ;;
    esac
}

# -- steps -----------------------------------------------------------------------------

# step NAME COMMAND...: run it, show and keep its output in $LOG, its exit code in $CODE.
step() {
    local name=$1
    shift
    begin_step "$name" "$@"
    end_step
}

# The command as a person types it: `triage` for this interpreter's `-m triage`.
as_typed() {
    if [ "${*:1:3}" = "${TRIAGE[*]}" ]; then
        shift 3
        set -- triage "$@"
    fi
    say "$*"
}

# Commands run in the background, as bash delivers a signal to a waiting shell only
# between foreground commands.
begin_step() {
    STEP=$((STEP + 1))
    LOG=$OUT/$(printf '%02d' "$STEP")-$1.log
    shift
    say ""
    say "== $STEP: $(as_typed "$@")"
    "$@" >"$LOG" 2>"$LOG.stderr" &
    STEP_PID=$!
}

end_step() {
    CODE=0
    tick_begins
    wait "$STEP_PID" || CODE=$?
    STEP_PID=""
    tick_ends
    cat "$LOG"
    if [ "$CODE" -gt 1 ]; then tail -n 5 "$LOG.stderr" >&2; fi
}

# On a terminal a line on stderr tells which step runs and for how long; the next one, and the
# end of the step, take its place. STEPS: of how many, where the story knows it.
tick_begins() {
    [ -t 2 ] || return 0
    ticking "$STEP${STEPS:+ of $STEPS}" &
    TICK_PID=$!
}

ticking() {
    local step=$1 second=0
    trap - ERR EXIT
    while sleep 1; do
        second=$((second + 1))
        printf '\r  step %s, %d s ' "$step" "$second" >&2
    done
}

tick_ends() {
    [ -n "$TICK_PID" ] || return 0
    kill "$TICK_PID" 2>/dev/null || true
    wait "$TICK_PID" 2>/dev/null || true
    TICK_PID=""
    printf '\r\033[K' >&2
}

# beside COMMAND...: start it beside the steps that follow; `end_beside` awaits and shows it.
beside() {
    BESIDE_LOG=$OUT/beside.log
    say ""
    say "== beside the next steps: $(as_typed "$@")"
    "$@" >"$BESIDE_LOG" 2>"$BESIDE_LOG.stderr" &
    BESIDE_PID=$!
}

end_beside() {
    say ""
    say "== the command begun beside them"
    LOG=$BESIDE_LOG STEP_PID=$BESIDE_PID
    BESIDE_PID=""
    end_step
}

# expect CODE SENTENCE: the last step must have ended with CODE, else the story broke.
expect() {
    [ "$CODE" = "$1" ] && return
    case $CODE in
        "$EXIT_USAGE" | "$EXIT_CANNOT_RUN") fail "$CODE" "step $STEP could not run; its output is in $LOG and $LOG.stderr" ;;
    esac
    fail "$EXIT_DIFFERENT" "step $STEP ended with $CODE, expected $1: $2 ($LOG)"
}

# newest_dump [FOLDER]: the newest dump of this run, empty if there is none.
newest_dump() {
    local folder=$OUT/${1:-dumps}
    [ -d "$folder" ] || return 0
    find "$folder" -name '*.msgpack' -printf '%T@ %p\n' | sort -rn | sed -n '1s/^[^ ]* //p'
}

# play_patch NAME: the regression test of a patch, on its release and on a copy with the patch.
# It must fail and pass; $RELEASED is the log of the failure.
play_patch() {
    local play=("$PYTHON" "$REPROS/patches/play.py" "$1")
    step released "${play[@]}"
    expect 1 "the regression test fails on the release as it is"
    # shellcheck disable=SC2034  # for the script
    RELEASED=$LOG
    step patched "${play[@]}" --applied
    expect 0 "it passes with the patch"
}

# -- a real server ---------------------------------------------------------------------

# Scripts set SERVE=(SHAPE and options of `triage lab serve`) and FLAGS=(server flags).
# serve NAME OPTION...: one server from start to stop with its load, as a step of its own;
# its folder is $SERVED. Model, flags, health, dumps and the end of it are that command's.
serve() {
    SERVED=$OUT/$1
    step "serve-$1" "${TRIAGE[@]}" lab serve "${SERVE[@]}" "${MADE[@]}" "${WEIGHTS[@]}" \
        --port "$PORT" --dir "$SERVED" "${@:2}" ${FLAGS:+-- "${FLAGS[@]}"}
}

# said OUTCOME: does the last server's result say so? Outcomes: triage/lab/server/result.py.
said() { grep -q "\"outcome\": \"$1\"" "$SERVED/result.json"; }

# dead_of WHERE WHAT: the line of the last server's log that matches WHAT, in a log that matches
# WHERE too; another end of the server is a different outcome.
dead_of() {
    local log=$SERVED/server.log
    [ -e "$log" ] || fail "$EXIT_CANNOT_RUN" "no server was started ($LOG)"
    if ! grep -qE "$1" "$log" || ! grep -qE "$2" "$log"; then
        fail "$EXIT_DIFFERENT" "the server failed for another reason, see $log"
    fi
    grep -E "$2" "$log" | tail -n 1
}

# expect_clean SENTENCE: the last server lived through its load with no trap fired.
expect_clean() { expect 0 "$1"; }

# served_figure KEY: a figure of the last server's load, empty where it has none.
served_figure() {
    "$PYTHON" -c 'import json, sys
load = json.load(open(sys.argv[1]))["load"] or {}
print(load.get(sys.argv[2]) or "")' "$SERVED/result.json" "$1"
}

dry_run() {
    local arch
    for arch in sm_100 sm_90; do
        say "# on $arch"
        say "triage lab serve ${SERVE[*]} ${MADE[*]}${WEIGHTS[*]}${FLAGS:+ -- ${FLAGS[*]}}"
        "${TRIAGE[@]}" lab serve "${SERVE[@]}" "${MADE[@]}" "${WEIGHTS[@]}" --dry-run --arch "$arch" \
            ${FLAGS:+-- "${FLAGS[@]}"} || exit "$?"
    done
    check_flags || exit "$?"
    exit "$EXIT_CLEAN"
}

check_flags() {
    "$PYTHON" -m triage.lab.server_flags --server --model-path MODEL "${FLAGS[@]}"
}

# Everything this run started, and nothing else. `lab serve` ends its own server first.
stop_all() {
    local pid
    tick_ends
    for pid in $STEP_PID $BESIDE_PID; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

stopped() {
    trap - INT TERM ERR
    say "" >&2
    say "$NAME: stopped; logs so far are in $OUT" >&2
    exit "$1"
}
