"""Plays SGLang's ScheduleBatch with the default checks, healthy and with each defect.

python -m tests.sglang.late_audit_child MODE DIRECTORY
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triage.explain import explain
from triage.lab.bugs.bug import small
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.sglang.holders import row_of


def freed_under_a_request(driver: Any) -> None:
    """Somebody frees the first page of a request that goes on; the row keeps it."""
    req = driver.running.reqs[0]
    slots = driver.runtime.req_to_token_pool.req_to_token[row_of(req)]
    driver.runtime.token_to_kv_pool_allocator.full_attn_allocator.free(slots[:16].long())


def freed_twice(driver: Any) -> None:
    """A page that is free is freed once more."""
    sub = driver.runtime.token_to_kv_pool_allocator.swa_attn_allocator
    sub.free(sub.free_pages[-1:] * 16)


def at_two_columns(driver: Any) -> None:
    """The first page of a request is the second of another, too."""
    first, second = (row_of(req) for req in driver.running.reqs[:2])
    table = driver.runtime.req_to_token_pool.req_to_token
    table[second, 16:32] = table[first, :16]


DEFECTS = {
    "none": None,
    "freed": freed_under_a_request,
    "twice": freed_twice,
    "moved": at_two_columns,
}


class Said(logging.Handler):
    """What is logged as an error, but for counts (I7), which see some of it too and sooner."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "I7: " not in record.getMessage():
            self.messages.append(record.getMessage())


@contextmanager
def listening() -> Iterator[list[str]]:
    """What is logged as an error inside."""
    said = Said()
    logging.getLogger("triage").addHandler(said)
    try:
        yield said.messages
    finally:
        logging.getLogger("triage").removeHandler(said)


def play(process: Any, directory: Path, defect: Any, cache: str, queued: bool) -> dict[str, Any]:
    process.arm(traps=True, fixes=(), directory=directory)
    audit = process.installed.state_hooks.audit
    audit.every = 1
    bench = Bench(process, small(draft="none", cache=cache, queued=queued), seed=1)
    planted, said = -1, Said()
    logging.getLogger("triage").addHandler(said)
    try:
        while bench.driver.rows and not said.messages:
            if defect is not None and planted < 0 and bench.driver.step == 4:
                defect(bench.driver)
                planted = audit.looks
            bench.driver.tick()
    finally:
        bench.close()
    audit.tell()
    logging.getLogger("triage").removeHandler(said)
    named = ""
    if said.messages:
        from triage.dump.file import read_dump

        dump = said.messages[-1].partition("dump: ")[2].split()[0]
        found = explain(read_dump(Path(dump)))
        named = ", ".join(cause.key for cause in found.named) or found.status
    return {
        "cache": cache,
        "queued": queued,
        "steps": bench.driver.step,
        "looks": audit.looks,
        "late": audit.looks - planted,
        "said": "\n".join(said.messages),
        "explained": named,
        "switched off": process.traps.reporter.shells.failures,
    }


ORDERS = (("unified", True), ("chunk", False))
"""A prefix cache under SGLang's overlap order, and none in host order."""


if __name__ == "__main__":
    mode, directory = sys.argv[1], Path(sys.argv[2])
    lab = start(traps=True, fixes=(), directory=directory, mode=mode)
    found = {
        name: [play(lab, directory, defect, cache, queued) for cache, queued in ORDERS]
        for name, defect in DEFECTS.items()
    }
    sys.stdout.write(json.dumps({"sglang": lab.version, **found}) + "\n")
