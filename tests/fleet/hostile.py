"""A server that answers anything but what was asked, in raw HTTP: one behaviour each."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ESCAPE = "\x1b]0;title\x07"
DONE = b"data: [DONE]\n\n"


def event(plain) -> bytes:
    return b"data: " + json.dumps(plain).encode() + b"\n\n"


def said(text, **more) -> dict:
    choice = {"index": 0, "text": text, "delta": {"content": text}, "finish_reason": None}
    return {"id": "x", "created": 1, "model": "m", "choices": [choice], **more}


def forever(piece, seconds) -> Iterator[bytes]:
    while True:
        yield piece
        time.sleep(seconds)


MODELS = {
    "a page of HTML": b"<html>",
    "null": b"null",
    "a list": b"[]",
    "no data": b"{}",
    "data null": b'{"data": null}',
    "no id": b'{"data": [{}]}',
    "an id of numbers": b'{"data": [{"id": 7}]}',
    "bytes": b"\xff\xfe",
    "endless": b"[" * 6_000_000,
}
"""What GET /v1/models says."""

STREAMS = {
    "no JSON": lambda: [b"data: {no\n\n"],
    "a number": lambda: [b"data: 5\n\n"],
    "a list": lambda: [b"data: []\n\n"],
    "an empty object": lambda: [b"data: {}\n\n"],
    "choices null": lambda: [event({"choices": None})],
    "choices of numbers": lambda: [event({"choices": [5]})],
    "text of numbers": lambda: [event(said(5))],
    "usage of text": lambda: [event(said("a", usage="x"))],
    "usage of nulls": lambda: [
        event(said("a", usage={"prompt_tokens": None, "completion_tokens": None}))
    ],
    "usage below nothing": lambda: [
        event(said("a", usage={"prompt_tokens": -1, "completion_tokens": -5}))
    ],
    "bytes": lambda: [b'data: {"id": "\xff\xfe"}\n\n'],
    "an error": lambda: [event({"error": {"message": ESCAPE}})],
    "nothing": lambda: [],
    "comments without an end": lambda: forever(b": alive\n\n", 0.05),
    "a drip": lambda: forever(event(said("a")), 0.05),
    "a flood": lambda: forever(event(said("A" * 100_000)), 0),
    "a line without an end": lambda: forever(b"A" * 1_000_000, 0),
}
"""What follows a POST that was answered 200, as a stream of events."""


@contextmanager
def serving(stream: str = "", models: str = "", kind: str = "text/event-stream") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            return

        def do_GET(self):
            body = MODELS.get(models, b'{"data": [{"id": "m"}]}')
            if "models" not in self.path:
                body = b'{"internal_states": [{"avg_spec_accept_length": NaN}, 5]}'
            self.send_response(200)
            self.send_header(
                "Content-Type", "text/html" if "HTML" in models else "application/json"
            )
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for piece in STREAMS[stream]():
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(DONE), DONE))
            except OSError:
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
