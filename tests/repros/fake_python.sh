#!/usr/bin/env bash
# Stands for the interpreter of a machine with a GPU: `-m sglang.launch_server` becomes a
# small HTTP server that behaves as $FAKE_SERVER says, `-m sglang.bench_serving` a sleep;
# everything else goes to the real interpreter.
#   healthy   answers /health until it is stopped
#   dies      ends before it is healthy
#   mute      never answers
#   faults    is healthy; the load makes it log an illegal memory access and die
port() { while [ $# -gt 1 ]; do [ "$1" = --port ] && echo "$2"; shift; done; }

case ${2:-} in
    sglang.launch_server)
        echo "started with SGLANG_TRIAGE_FIXES=$SGLANG_TRIAGE_FIXES"
        case $FAKE_SERVER in
            dies) echo "no GPU here"; exit 1 ;;
            mute) exec sleep 600 ;;
        esac
        rm -f "$FAKE_STATE/loaded"
        echo $$ >"$FAKE_STATE/server.pid"
        mkdir -p "$FAKE_STATE/www" && touch "$FAKE_STATE/www/health"
        "$REAL_PYTHON" -m http.server "$(port "$@")" --bind 127.0.0.1 --directory "$FAKE_STATE/www" &
        child=$!
        trap 'kill $child; exit 0' TERM
        while kill -0 $child; do
            if [ -e "$FAKE_STATE/loaded" ] && [ "$FAKE_SERVER" = faults ]; then
                echo "CUDA error: an illegal memory access was encountered"
                kill $child
                exit 1
            fi
            sleep 0.2
        done
        ;;
    sglang.bench_serving)
        touch "$FAKE_STATE/loaded"
        sleep "${FAKE_BENCH_S:-1}"
        echo "Output token throughput (tok/s):         1000.00"
        echo "bench done"
        ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
