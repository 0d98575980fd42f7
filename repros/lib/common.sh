# shellcheck shell=bash
# What every reproducer shares: options, where to run, a real server's life, exit codes.
#
# A script sets NAME, sources this file and calls `repro_begin "$@"`. Then
#   $WHERE      lab (SGLang's real classes on a CPU) or server (a Blackwell GPU)
#   $OUT        this run's directory: one log per step, dumps in $OUT/dumps
#   $QUICK      1 when the caller asked for the smallest lab scenario
#
# Options of every script:
#   --dry-run       print the server's commands, check their flags with the installed
#                   SGLang's own argument parser, run nothing
#   --lab           run in the lab even where a Blackwell GPU is present
#   --server        run a real server even where none is found
#   --quick         lab: the two-second scenario instead of the scaled model
#   --dir DIR       where logs and dumps go (default: a new directory under /tmp)
#   --port PORT     port of the server (default 30000)
#   -h, --help      the script's header
#
# Exit codes, like those of `triage replay`, but 0 where the failure did not show:
#   0    ran to the end, the failure did not show
#   1    the failure is reproduced, and the rest of the story holds
#   2    usage, stale server flags, or a port in use
#   3    cannot run here (no SGLang, no such release, the server never got healthy)
#   4    a different outcome: another failure, or one that the fix does not remove
#   130  stopped by Ctrl-C (143 by TERM); what was started is stopped, logs are kept
#
# Environment: PYTHON (interpreter), MODEL / DRAFT_MODEL where a script has them,
# HEALTH_TIMEOUT_S (default 1800), BENCH_TIMEOUT_S (default 3600).

readonly EXIT_CLEAN=0 EXIT_REPRODUCED=1 EXIT_USAGE=2 EXIT_CANNOT_RUN=3 EXIT_DIFFERENT=4

REPROS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(dirname "$REPROS")
HEALTH_TIMEOUT_S=${HEALTH_TIMEOUT_S:-1800}
BENCH_TIMEOUT_S=${BENCH_TIMEOUT_S:-3600}
SERVER_PID=""
STEP_PID=""
BESIDE_PID=""
STEP=0

repro_begin() {
    local where="" dry=0 given=("$@")
    OUT="" QUICK=0 PORT=30000
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) dry=1 ;;
            --lab) where=lab ;;
            --server) where=server ;;
            --quick) export QUICK=1 ;;
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

# finding CODE SENTENCE: end with what this run found.
finding() {
    local word="NOT REPRODUCED"
    [ "$1" != "$EXIT_REPRODUCED" ] || word=REPRODUCED
    say ""
    say "$word: $2"
    exit "$1"
}

need_value() { [ $# -ge 2 ] || fail "$EXIT_USAGE" "$1 needs a value"; }

# The comment block at the top of the script, without the interpreter line.
header() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

where_sentence() {
    if [ "$WHERE" = lab ]; then
        say "lab on this machine's CPU (no Blackwell GPU asked for or found)"
    else
        say "a real server on this machine's GPU"
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

# "server" where the first GPU is one that trtllm-gen kernels exist for.
detect() {
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) || true
    case $capability in
        10.0 | 10.3) say server ;;
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
    wait "$STEP_PID" || CODE=$?
    STEP_PID=""
    cat "$LOG"
    if [ "$CODE" -gt 1 ]; then tail -n 5 "$LOG.stderr" >&2; fi
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
        2 | 3) fail "$CODE" "step $STEP could not run; its output is in $LOG and $LOG.stderr" ;;
    esac
    fail "$EXIT_DIFFERENT" "step $STEP ended with $CODE, expected $1: $2 ($LOG)"
}

# newest_dump [FOLDER]: the newest dump of this run, empty if there is none.
newest_dump() {
    local folder=$OUT/${1:-dumps}
    [ -d "$folder" ] || return 0
    find "$folder" -name '*.msgpack' -printf '%T@ %p\n' | sort -rn | sed -n '1s/^[^ ]* //p'
}

# -- a real server ---------------------------------------------------------------------

# Scripts set SERVER=(flags of sglang.launch_server) and BENCH=(flags of sglang.bench_serving).
dry_run() {
    say "# the server"
    print_command "$PYTHON" -m sglang.launch_server "${SERVER[@]}" --port "$PORT"
    say "# the load"
    print_command "$PYTHON" -m sglang.bench_serving "${BENCH[@]}" --port "$PORT"
    say "# guarded: put SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_DIR=DIR before the server"
    [ -z "${FIX:-}" ] || say "# fixed: put SGLANG_TRIAGE_FIXES=$FIX before the server"
    check_flags || exit "$?"
    exit "$EXIT_CLEAN"
}

print_command() {
    local word
    for word in "$@"; do
        case $word in
            --*) printf ' \\\n    %q' "$word" ;;
            *) printf '%q ' "$word" | sed 's/ $//; 1s/^/ /' ;;
        esac
    done | sed '1s/^ //'
    printf '\n'
}

check_flags() {
    "$PYTHON" -m triage.lab.server_flags --server "${SERVER[@]}" --port "$PORT" \
        --bench "${BENCH[@]}" --port "$PORT"
}

# serve NAME [VARIABLE=VALUE...]: start the server in a process group of its own and wait
# until it is healthy. Only that group is ever stopped. A server that ends first ends the
# script, or with MAY_DIE=1 makes this return 1.
serve() {
    local name=$1
    shift
    refuse_busy_port
    SERVER_LOG=$OUT/server-$name.log
    say ""
    say "== server $name: $* $PYTHON -m sglang.launch_server ${SERVER[*]} --port $PORT"
    setsid env "$@" "$PYTHON" -m sglang.launch_server "${SERVER[@]}" --port "$PORT" \
        >"$SERVER_LOG" 2>&1 &
    SERVER_PID=$!
    wait_healthy
}

refuse_busy_port() {
    local owner
    (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null || return 0
    owner=$(ss -ltnpH "sport = :$PORT" 2>/dev/null | sed -n '1s/.*users:((\(.*\)))/\1/p')
    fail "$EXIT_USAGE" "port $PORT is in use by ${owner:-a process this user may not see}; use --port"
}

server_alive() { [ -n "$SERVER_PID" ] && kill -0 "$SERVER_PID" 2>/dev/null; }

wait_healthy() {
    local waited=0
    until curl -sf --max-time 5 "http://127.0.0.1:$PORT/health" >/dev/null 2>&1; do
        if ! server_alive; then
            [ -z "${MAY_DIE:-}" ] || return 1
            fail "$EXIT_CANNOT_RUN" "the server ended before it was healthy: $(last_words)"
        fi
        [ "$waited" -lt "$HEALTH_TIMEOUT_S" ] ||
            fail "$EXIT_CANNOT_RUN" "the server was not healthy within $HEALTH_TIMEOUT_S s; see $SERVER_LOG"
        sleep 1
        waited=$((waited + 1))
    done
    say "healthy after $waited s"
}

last_words() { printf '%s (%s)' "$(sed '/^$/d' "$SERVER_LOG" | tail -n 1)" "$SERVER_LOG"; }

# bench NAME: the load. A failing load is a finding, so this never ends the script.
bench() {
    step "bench-$1" timeout "$BENCH_TIMEOUT_S" "$PYTHON" -m sglang.bench_serving "${BENCH[@]}" \
        --port "$PORT" --output-file "$OUT/bench-$1.jsonl"
}

# Did the server die of what a GPU reports as an illegal memory access?
server_faulted() { grep -qE 'illegal memory access|CUDA error: an illegal|Warp Illegal' "$SERVER_LOG"; }

# Everything this run started, and nothing else.
stop_all() {
    local pid
    for pid in $STEP_PID $BESIDE_PID; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    stop_server
}

stop_server() {
    [ -n "$SERVER_PID" ] || return 0
    local pid=$SERVER_PID waited=0
    SERVER_PID=""
    kill -TERM -- "-$pid" 2>/dev/null || true
    while kill -0 -- "-$pid" 2>/dev/null && [ "$waited" -lt 30 ]; do
        sleep 1
        waited=$((waited + 1))
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

stopped() {
    trap - INT TERM ERR
    say "" >&2
    say "$NAME: stopped; logs so far are in $OUT" >&2
    exit "$1"
}
