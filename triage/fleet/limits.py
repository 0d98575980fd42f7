"""What a server may answer: so many bytes, of the type that was asked for.

The failures: a stream without an end or without a line's end that fills memory; a page of
HTML with status 200 that is counted as an answer. Looked at below the `openai` client, as the
bytes come in, so nothing above has to be trusted with them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from triage.fleet.no_answer import NoAnswer

MAX_ANSWER_BYTES = 32 << 20
"""Of one answer as it comes over the wire: 100,000 tokens are a tenth of it."""

MAX_INFO_BYTES = 4 << 20


class Limited(httpx.AsyncBaseTransport):
    """httpx's own transport under the limits. `wanted`: path's end -> content type."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        wanted = "text/event-stream" if request.method == "POST" else "application/json"
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code < 400 and kind != wanted:
            await response.aclose()
            raise NoAnswer(f"the content type is {kind[:80] or 'not said'}, not {wanted}")
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Counted(response.stream, self._max_bytes)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, left: int) -> None:
        self._stream, self._left, self._limit = stream, left, left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise NoAnswer(f"the answer is longer than {self._limit} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
