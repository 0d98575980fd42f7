"""What a server's log says of its KV pools, against the arithmetic of `pool_sizes`.

SGLang logs the memory of both pools in GiB with two digits behind the point. What that memory
holds by our arithmetic is compared with the tokens that SGLang logged: the full pool's have to lie
between what the least and what the most of it hold, the SWA pool's follow from them to the
token, and so do the bytes of each pool as far as they are printed. Where `--max-total-tokens`
was the limit, the full pool is that, in whole pages.

Memory is taken from the pools, not from what was free before them: a server that follows
another sees that one's memory come back between the two lines that its own profile uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from triage.fleet.pool_sizes import Model, PoolError, full_tokens, split

GIB = 2**30
SAID = 0.005
"""GiB: half of the last digit that the log prints of a size."""

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8"}

_WANTED = re.compile(r"\bmax_total_tokens=(\d+)")
_PROFILED = re.compile(r"max_total_tokens=\d+ is larger than the profiled value")
_POOL = re.compile(
    r"KV Cache is allocated\. dtype: torch\.(\w+), #tokens: (\d+), "
    r"K size: ([\d.]+) GB, V size: ([\d.]+) GB"
)
_BOTH = re.compile(r"SWAKVPool mem usage: ([\d.]+) GB, swa size: (\d+), full size: (\d+)")


@dataclass(frozen=True, slots=True)
class Logged:
    """The pools of a server, the target's, as its log has them.

    wanted: `--max-total-tokens` where it was the limit, else None. gib: of both pools;
    full_gib, swa_gib: of each, K and V together. All as printed.
    """

    ratio: float
    page_size: int
    wanted: int | None
    full: int
    swa: int
    dtype: str
    gib: float
    full_gib: float
    swa_gib: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`least` to `most`: tokens of the full pool that the logged memory may hold. `swa`: tokens
    of the other that follow. `full_gib`, `swa_gib`: bytes of the logged tokens. `differ`: what
    does not agree, in sentences; empty where all does."""

    logged: Logged
    least: int
    most: int
    swa: int
    full_gib: float
    swa_gib: float
    differ: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.differ


def read(log: str) -> Logged:
    """The pools of a whole log. Raises PoolError naming what it lacks."""
    flags = next((line for line in log.splitlines() if "server_args=" in line), None)
    both = _BOTH.search(log)
    if flags is None or both is None:
        what = "flags (server_args=)" if flags is None else "hybrid pools (SWAKVPool mem usage)"
        raise PoolError(f"the log has no line with a server's {what}")
    swa, full = int(both[2]), int(both[3])
    pools = [each for each in _POOL.finditer(log) if each.start() < both.start()][-2:]
    if [int(each[2]) for each in pools] != [swa, full]:
        raise PoolError("the log does not say the bytes of both pools (KV Cache is allocated)")
    dtype = pools[0][1]
    if dtype not in DTYPES:
        raise PoolError(f"keys of torch.{dtype} are not worked out; known: {', '.join(DTYPES)}")
    wanted = None if _PROFILED.search(log) else _WANTED.search(flags)
    of_each = [float(each[3]) + float(each[4]) for each in pools]
    return Logged(
        ratio=float(_flag(flags, "swa_full_tokens_ratio")),
        page_size=int(_flag(flags, "page_size")),
        wanted=int(wanted[1]) if wanted else None,
        full=full,
        swa=swa,
        dtype=DTYPES[dtype],
        gib=float(both[1]),
        swa_gib=of_each[0],
        full_gib=of_each[1],
    )


def compare(logged: Logged, model: Model) -> Comparison:
    """Work the pools out from the memory and the flags of the log."""
    page = logged.page_size
    least = _largest(logged, model, logged.gib - SAID) + page
    most = _largest(logged, model, logged.gib + SAID)
    _, swa = split(logged.full, logged.ratio, page)
    full_gib = (logged.full + page) * model.full_token_bytes / GIB
    swa_gib = (logged.swa + page) * model.swa_token_bytes / GIB
    differ = []
    if not least <= logged.full <= most:
        differ.append(
            f"{logged.gib} GiB hold {least:,} to {most:,} full tokens, the log says {logged.full:,}"
        )
    if logged.wanted is not None and logged.full != split(logged.wanted, 1.0, page)[0]:
        differ.append(f"{logged.wanted:,} full tokens were asked for, {logged.full:,} are there")
    if swa != logged.swa:
        differ.append(f"{swa:,} SWA tokens follow from the full pool, the log says {logged.swa:,}")
    for name, ours, said in (
        ("full", full_gib, logged.full_gib),
        ("SWA", swa_gib, logged.swa_gib),
    ):
        if abs(ours - said) > 2 * SAID + 1e-9:  # K and V are printed apart
            differ.append(f"the {name} pool is {ours:.3f} GiB, the log says {said:.2f}")
    return Comparison(logged, least, most, swa, full_gib, swa_gib, differ)


def _largest(logged: Logged, model: Model, gib: float) -> int:
    """The most full tokens, in whole pages, that fit into `gib` with the SWA pool beside them."""
    page, memory = logged.page_size, gib * GIB
    full, swa = split(full_tokens(model, int(memory), logged.ratio) + page, logged.ratio, page)
    # SGLang gives each pool a page more, the dummy page, and counts its bytes
    while (full + page) * model.full_token_bytes + (swa + page) * model.swa_token_bytes > memory:
        full, swa = split(full - page, logged.ratio, page)
    return full


def report(found: Comparison) -> dict[str, Any]:
    """One JSON object: what was logged, what was worked out, and what differs."""
    logged = found.logged
    names = ("ratio", "page_size", "wanted", "full", "swa", "dtype", "gib", "full_gib", "swa_gib")
    return {
        "logged": {name: getattr(logged, name) for name in names},
        "worked_out": {
            "full_least": found.least,
            "full_most": found.most,
            "swa": found.swa,
            "full_gib": round(found.full_gib, 4),
            "swa_gib": round(found.swa_gib, 4),
        },
        "equal": found.equal,
        "differ": found.differ,
    }


def _flag(flags: str, name: str) -> str:
    found = re.search(rf"\b{name}=([\d.]+)", flags)
    if found is None:
        raise PoolError(f"the server's flags in the log have no number for {name}")
    return found[1]
