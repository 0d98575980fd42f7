"""Published defects of the kernels and their host code, and which calls each applies to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from triage.resolver.select import Call, Resolution

_FLASHINFER = "https://github.com/flashinfer-ai/flashinfer"


@dataclass(frozen=True, slots=True)
class Defect:
    """`applies` says whether a call with that resolution is exposed."""

    link: str
    what: str
    applies: Callable[[Call, Resolution], bool]


def _names(resolution: Resolution) -> str:
    return " ".join(kernel.name for kernel in resolution.candidates)


DEFECTS = (
    Defect(
        f"{_FLASHINFER}/issues/3864",
        "bf16 queries over an fp8 cache, several query tokens and a window: wrong values, silently",
        lambda call, _: (
            (call.q_type, call.kv_type) == ("BF16", "E4M3")
            and call.max_q_len > 1
            and call.max_kv_len > call.window
        ),
    ),
    Defect(
        f"{_FLASHINFER}/issues/4347",
        "pages of more than 128 tokens give wrong results "
        "(fixed after 0.6.16 by flashinfer-ai/flashinfer#3849)",
        lambda call, _: call.page_size > 128,
    ),
    Defect(
        f"{_FLASHINFER}/issues/1928",
        "the split-KV counters lie in the first 8 MiB of the workspace and must be zero before "
        "the launch; a dirty or shared workspace hangs, faults or corrupts",
        lambda call, resolution: (
            call.version < (0, 6, 15)
            and any(
                "MultiCtasKv" in kernel.name and "MultiCtasKvCga" not in kernel.name
                for kernel in resolution.candidates
            )
        ),
    ),
    Defect(
        f"{_FLASHINFER}/issues/3343",
        "head_dim 512 with 5 to 8 query tokens has no kernel before 0.6.14",
        lambda call, resolution: (
            call.version < (0, 6, 14) and call.head_dim == 512 and bool(resolution.missing)
        ),
    ),
    Defect(
        f"{_FLASHINFER}/pull/4382",
        "head_dim 512, 5 or more query tokens a row, several rows: the reduction mis-indexes the "
        "output, and every row but the first gets a wrong one over a sound table (fixed in 0.6.18)",
        lambda call, resolution: (
            call.version < (0, 6, 18)
            and not call.context
            and call.head_dim == 512
            and call.max_q_len >= 5
            and call.batch_size > 1
            and bool(resolution.candidates)
        ),
    ),
    Defect(
        f"{_FLASHINFER}/issues/4094",
        "pages of 128 and more with one query head per KV head have no kernel before 0.6.16",
        lambda call, resolution: (
            call.version < (0, 6, 16)
            and call.group == 1
            and call.page_size >= 128
            and bool(resolution.missing)
        ),
    ),
    Defect(
        f"{_FLASHINFER}/issues/4647",
        "the output depends on the host argument max_seq_len, which decides split and kernel",
        lambda call, resolution: bool(resolution.candidates) and "MultiCtas" in _names(resolution),
    ),
)


def defects_of(call: Call, resolution: Resolution) -> tuple[Defect, ...]:
    return tuple(defect for defect in DEFECTS if defect.applies(call, resolution))
