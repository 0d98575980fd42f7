"""A ring of keys a request (0.5.23): SGLang's allocator over it, all families of traps armed.

python -m tests.sglang.ring_child DIRECTORY [MODE]

The ring is DeepSeek-V4's: its layers address it by request row and position, so the allocator
pages the full side alone and its mapping stays unwritten. A SWAKVPool that says it is a ring
stands for that pool here; the allocator reads nothing else of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402

from triage.errors import TrapError  # noqa: E402
from triage.invariants.catalogue import FAMILIES  # noqa: E402
from triage.lab.geometry import Geometry  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.request import LabRequest  # noqa: E402
from triage.lab.runtime import Runtime  # noqa: E402
from triage.sglang.binding.names import swa_allocator_class  # noqa: E402

GEOMETRY = Geometry(16, 20, 24, 32, 3, 3, 0, 128, 4)
PAGE = GEOMETRY.page_size
PROMPT, DECODED = 40, 30


class Ring:
    """One request at a time over such an allocator, as SGLang's allocation does it."""

    def __init__(self, runtime: Runtime) -> None:
        pool = runtime.token_to_kv_pool
        pool.swa_req_ring_size = 32
        self.rows = runtime.req_to_token_pool
        self.allocator = swa_allocator_class()(
            GEOMETRY.full_pages * PAGE,
            GEOMETRY.swa_pages * PAGE,
            page_size=PAGE,
            dtype=torch.float16,
            device="cpu",
            kvcache=pool,
            need_sort=False,
            req_to_token_pool=self.rows,
        )

    def request(self) -> Any:
        """Prefill and decode; its row names what it was given."""
        request = LabRequest(0, PROMPT, DECODED)
        self.rows.alloc([request])
        self._extend(request, 0, PROMPT)
        for length in range(PROMPT + 1, PROMPT + DECODED + 1):
            at = torch.tensor([length])
            loc = self.allocator.alloc_decode(at, at, self._last(request, length - 1))
            self.rows.write((torch.tensor([request.req_pool_idx]), at - 1), loc.to(torch.int32))
        return request

    def _extend(self, request: Any, start: int, stop: int) -> None:
        before, after = torch.tensor([start]), torch.tensor([stop])
        loc = self.allocator.alloc_extend(
            before, before, after, after, torch.tensor([-1]), stop - start
        )
        self.rows.write((request.req_pool_idx, slice(start, stop)), loc.to(torch.int32))

    def _last(self, request: Any, length: int) -> Any:
        return self.rows.req_to_token[[request.req_pool_idx], [length - 1]].to(torch.int64)

    def slots(self, request: Any) -> Any:
        return self.rows.req_to_token[request.req_pool_idx, : PROMPT + DECODED].to(torch.int64)


def main(directory: Path, mode: str) -> None:
    process = start(traps=True, fixes=(), directory=directory, mode=mode, checks=",".join(FAMILIES))
    runtime = Runtime(GEOMETRY, draft_tokens=1, draft_steps=1, draft="none")
    ring, books = Ring(runtime), process.installed.state_hooks.books
    audits, ledger = 0, process.traps.reporter.reads_device
    for _ in range(3):
        request = ring.request()
        if ledger:
            books.boundary(ring.allocator)
        audits += 1
        ring.allocator.free_swa(ring.slots(request)[:PAGE])
        ring.allocator.free(ring.slots(request))
        ring.rows.free(request)
        if ledger:
            books.boundary(ring.allocator)
    found: dict[str, Any] = {"sound": audits, "agreed": books.agreed}
    # WHEN a request's pages go back twice
    request = ring.request()
    slots = ring.slots(request)
    ring.allocator.free(slots)
    try:
        ring.allocator.free(slots[PAGE : 2 * PAGE])
        found["twice"] = "freed"
    except TrapError as error:
        found["twice"] = str(error).splitlines()[0]
    except AssertionError:  # SGLang's own count, once all is free
        found["twice"] = "freed"
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "raise")
