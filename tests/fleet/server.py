"""A real HTTP server with the OpenAI API and scripted behaviour, in a thread of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import threading
import zlib
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Script:
    """What the server does. Requests are counted from 0 in the order they arrive.

    failing: answered with status 500. break_off: streams that end in the middle.
    gone_after: from this request on every connection is dropped, as by a dead process.
    """

    ttft_s: float = 0.02
    tpot_s: float = 0.004
    accept_length: float | None = 2.84
    failing: frozenset[int] = frozenset()
    break_off: frozenset[int] = frozenset()
    gone_after: int | None = None
    answers: Any = None
    seen: list[dict[str, Any]] = field(default_factory=list)


class ScriptedServer:
    """Start with `with ScriptedServer(script) as url`. The script may be changed in between."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.url = ""

    def __enter__(self) -> str:
        self._thread.start()
        assert self._ready.wait(10)
        return self.url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(self._app())
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/get_server_info", self._info)
        app.router.add_post("/v1/completions", self._completion)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "tests"}
        return web.json_response({"object": "list", "data": [model]})

    async def _info(self, request: web.Request) -> web.Response:
        state = {"avg_spec_accept_length": self.script.accept_length}
        return web.json_response({"internal_states": [state]})

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        words = [f"w{i} " for i in range(body["max_tokens"])]
        return await self._stream(request, body, words, lambda text: {"text": text})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        text = self.script.answers(body["messages"][0]["content"])
        words = [f"{word} " for word in text.split()]
        words[-1] = words[-1].rstrip()
        return await self._stream(request, body, words, lambda word: {"delta": {"content": word}})

    async def _stream(
        self, request: web.Request, body: dict[str, Any], words: list[str], shape: Any
    ) -> web.StreamResponse:
        number = len(self.script.seen)
        self.script.seen.append(body)
        if self.script.gone_after is not None and number >= self.script.gone_after:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if number in self.script.failing:
            return web.json_response({"error": {"message": "out of memory"}}, status=500)
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        await asyncio.sleep(self.script.ttft_s)
        for place, word in enumerate(words):
            if number in self.script.break_off and place == len(words) // 2:
                assert request.transport is not None
                request.transport.close()
                return reply
            await self._send(reply, {"choices": [{"index": 0, **shape(word)}]})
            if place + 1 < len(words):
                await asyncio.sleep(self.script.tpot_s)
        tokens = len(json.dumps(body.get("prompt", "")).split())
        usage = {
            "prompt_tokens": tokens,
            "completion_tokens": len(words),
            "total_tokens": tokens + len(words),
        }
        await self._send(reply, {"choices": [], "usage": usage})
        await reply.write(b"data: [DONE]\n\n")
        return reply

    async def _send(self, reply: web.StreamResponse, part: dict[str, Any]) -> None:
        chunk = {"id": "x", "object": "chunk", "created": 0, "model": "scripted", **part}
        await reply.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def colour_of(content: Any) -> tuple[int, int, int]:
    """The colour of the image in a chat message: its PNG decoded, as a model would see it."""
    url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
    data = base64.b64decode(url.split(",", 1)[1])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, pixels = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            pixels += data[at + 8 : at + 8 + length]
        at += length + 12
    row = zlib.decompress(pixels)
    return row[1], row[2], row[3]
