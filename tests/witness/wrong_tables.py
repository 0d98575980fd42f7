"""A table that goes wrong on its way to the kernel, and what our log says meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def planted() -> Iterator[None]:
    """From the 8th metadata of the target on, row 0 of its table names row 1's newest page."""
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    build, built = TRTLLMHAAttnBackend.init_forward_metadata, 0

    def wrong(self: Any, forward_batch: Any) -> Any:
        nonlocal built
        result = build(self, forward_batch)
        built += 1
        table = getattr(self.forward_metadata, "page_table", None)
        if built > 8 and table is not None and len(table) > 1:
            last = int(self.forward_metadata.cache_seqlens_int32[0] - 1) // self.page_size
            table[0, last] = table[1, 0]
        return result

    TRTLLMHAAttnBackend.init_forward_metadata = wrong
    try:
        yield
    finally:
        TRTLLMHAAttnBackend.init_forward_metadata = build


class Logged(logging.Handler):
    """The errors that our log got, while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> Logged:
        logging.getLogger("triage").addHandler(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        logging.getLogger("triage").removeHandler(self)
