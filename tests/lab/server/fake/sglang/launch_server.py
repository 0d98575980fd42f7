"""Stands for SGLang's server where there is no GPU: its processes, its answers, its deaths.

Two processes below it, as SGLang has: a "scheduler" in the launcher's session and a
"worker" that leads a session of its own and has lost its parent. $FAKE_SERVER says how it
behaves; several words may be given:

    mute       never healthy
    dies       ends while it starts, with what SGLang logs of a scheduler that raised
    memory     ends while it starts, for lack of memory
    faults     the fourth request makes it log an illegal memory access and end
    traps      the fourth request makes it write a dump ($FAKE_DUMP) and end
    defect     with the plugin of a defect and no fix: faults without traps, traps with them
    stubborn   ignores SIGTERM, in every process
    unarmed    does not say that launches are watched
    slow       answers take two seconds
    paced      answers take a fifth of a second
    compiling  those of the first server take half a second longer
    alone      with SGLANG_TRIAGE_FUSED=auto: ends while it starts
    untold     of the errors of the lab's injector one in three is not told

With the plugin of the lab's injector each request notes one error, once it is asked to.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SAYS = os.environ.get("FAKE_SERVER", "").split()
STATE = Path(os.environ["FAKE_STATE"])
COMPILING = "compiling" in SAYS and not (STATE / "arguments.json").exists()
DEFECT = any(path.endswith("plugins/stale-swa-state") for path in sys.path)
if "defect" in SAYS and DEFECT and not os.environ.get("SGLANG_TRIAGE_FIXES"):
    SAYS.append("traps" if os.environ.get("SGLANG_TRTLLM_MHA_DEBUG") == "1" else "faults")
SLEEP = "import signal, time; {}time.sleep(600)"
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "

TRACEBACK = """[2026-01-01 00:00:00] Scheduler hit an exception: Traceback (most recent call last):
  File "scheduler.py", line 1, in run_scheduler_process
{}

[2026-01-01 00:00:00] SIGQUIT received. signum=None, frame=None. It usually means one child failed.
Traceback (most recent call last):
  File "launch_server.py", line 1, in <module>
EOFError
"""
MEMORY = "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static."
ILLEGAL = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"
STALE = "triage.errors.StaleSWAState: ids of the full pool in an SWA layer"

INJECTOR = next((Path(path) for path in sys.path if path.endswith("plugins/injector")), None)

asked = 0
lock = threading.Lock()


def note(name, pid):
    (STATE / f"{name}.pid").write_text(str(pid))


def end(exception):
    print(TRACEBACK.format(exception), flush=True)
    os._exit(1)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({} if self.path == "/health" else {"error": "?"})

    def do_POST(self):
        global asked
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            asked += 1
            number = asked
        if INJECTOR is not None and (INJECTOR.parents[1] / "control").exists():
            told = int("untold" not in SAYS or number % 3 != 0)
            line = {"kind": "injected", "function": f"hook {number}", "told": told, "off": []}
            with lock, (INJECTOR.parents[1] / "injected.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        if number == 4 and "faults" in SAYS:
            end(ILLEGAL)
        if number == 4 and "traps" in SAYS:
            directory = Path(os.environ["SGLANG_TRTLLM_MHA_DEBUG_DIR"])
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.environ["FAKE_DUMP"], directory / "first.msgpack")
            end(STALE)
        if "paced" in SAYS:  # two servers are equally fast, on a busy machine too
            time.sleep(0.2)
        if COMPILING:
            time.sleep(0.5)
        if "slow" in SAYS:
            (STATE / "loaded").touch()
            time.sleep(2)
        count = body["sampling_params"]["max_new_tokens"]
        ids = [(sum(body["input_ids"]) + index) % 4000 for index in range(count)]
        if os.environ.get("SGLANG_TRIAGE_FUSED"):  # other roundings: the last token differs
            ids[-1] += 1
        meta = {"completion_tokens": count, "finish_reason": {"type": "length"}}
        if body.get("stream"):
            self.stream(ids, meta)
            return
        self.answer({"output_ids": ids, "meta_info": meta})

    def stream(self, ids, meta):
        """As with a --stream-interval above the answer's length: the first token, then all.

        A further token takes 4 ms, and 5 ms where SGLANG_TRTLLM_MHA_DEBUG=1; 1 ms more where
        there is an output witness.
        """
        each = 0.005 if os.environ.get("SGLANG_TRTLLM_MHA_DEBUG") == "1" else 0.004
        each += 0.001 * ("SGLANG_TRTLLM_MHA_DEBUG_WITNESS" in os.environ)
        self.send_response(200)
        self.end_headers()
        for count in (1, len(ids)):
            chunk = {"output_ids": ids[:count], "meta_info": {**meta, "completion_tokens": count}}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.flush()
            if count == 1:
                time.sleep(each * (len(ids) - 1))
        self.wfile.write(b"data: [DONE]\n\n")

    def answer(self, body):
        encoded = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def main():
    if "stubborn" in SAYS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = SLEEP.format(IGNORE if "stubborn" in SAYS else "")
    note("launcher", os.getpid())
    note("scheduler", subprocess.Popen([sys.executable, "-c", code]).pid)
    # Forked twice: the worker's parent has ended, and its session is its own.
    fork = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {code!r}]"
    fork += ", start_new_session=True, stdout=subprocess.DEVNULL).pid)"
    note("worker", int(subprocess.check_output([sys.executable, "-c", fork])))
    # What SIGINT does here is what the lab gave it.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    (STATE / "environment.json").write_text(json.dumps({**os.environ, "SIGINT ignored": ignored}))
    (STATE / "arguments.json").write_text(json.dumps(sys.argv))
    if "dies" in SAYS:
        end("ValueError: Gemma4 only supports trtllm_mha or triton")
    if "memory" in SAYS:
        end(MEMORY)
    if "alone" in SAYS and os.environ.get("SGLANG_TRIAGE_FUSED") == "auto":
        end("torch._dynamo.exc.Unsupported: Attempted to call function marked as skipped")
    if os.environ.get("SGLANG_TRIAGE_FUSED"):
        print("[2026-01-01 00:00:00] sglang-triage fused op ple-tail: in use", flush=True)
    if os.environ.get("SGLANG_TRTLLM_MHA_DEBUG") == "1" and "unarmed" not in SAYS:
        print("[2026-01-01 00:00:00] sglang-triage: watching cuda:0; recorder 1.0 MiB on the host")
    print("Prefill batch, #new-seq: 2, #new-token: 128", flush=True)
    while "mute" in SAYS:
        time.sleep(1)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
