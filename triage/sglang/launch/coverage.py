"""Which launches the page-table checks see, and which checks hold inside CUDA graphs.

The checks stand at FlashInfer's trtllm calls, and where Triton's, FlashAttention's and
FlashInfer's own backend are entered. A launch that SGLang routes through any other does not
pass them; which those are follows from the server's flags, and without flags from what this
GPU lets SGLang choose. Pure: no SGLang and no torch, so that the answer is there where
neither can be imported.

Sources: SGLang's `HybridAttnBackend._select_backend` (decode by the decode backend, target
verify by `--speculative-attention-mode`, all else by the prefill backend),
`speculative/draft_utils.py` (a draft's decode steps and its extend), and the check of
`server_args.py` that trtllm_mha prefills on sm_100 and sm_103 only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from triage.invariants.catalogue import EAGER_ONLY

TRTLLM_MHA = "trtllm_mha"
SEEN = frozenset({TRTLLM_MHA, "triton", "flashinfer", "fa3", "fa4"})
"""SGLang's names of the backends whose launches are checked, eager and in CUDA graphs."""

_PREFILLS = ("sm_100", "sm_103")
_DECODES = (*_PREFILLS, "sm_90", "sm_120", "sm_121")


@dataclass(frozen=True, slots=True)
class Launches:
    """One kind of launch: who serves it, and whether what it reads is checked."""

    kind: str
    backend: str

    @property
    def seen(self) -> bool:
        return self.backend in SEEN


@dataclass(frozen=True, slots=True)
class Served:
    """How a server with these flags on this GPU serves attention. `assumed`: no flag said so.

    pools: flags that have SGLang build pools of classes that the hooks do not stand at.
    """

    arch: str
    launches: tuple[Launches, ...]
    graphs: bool
    assumed: bool
    pools: tuple[str, ...] = ()

    @property
    def refused(self) -> str:
        """Why SGLang does not start with these flags on this GPU, as far as this looks; or ""."""
        served = {each.kind: each.backend for each in self.launches}
        known = self.arch.startswith("sm_")
        for kind, archs in (("prefill", _PREFILLS), ("decode", _DECODES)):
            if known and served[kind] == TRTLLM_MHA and self.arch not in archs:
                refused = f"SGLang refuses {TRTLLM_MHA} for {kind} on {self.arch}"
                return f"{refused}; --{kind}-attention-backend"
        return ""


_FLAGS = (
    "attention_backend",
    "prefill_attention_backend",
    "decode_attention_backend",
    "speculative_algorithm",
    "speculative_attention_mode",
    "speculative_draft_attention_backend",
)


_POOLS = ("enable_unified_memory", "enable_hisparse")


def served(flags: Sequence[str], arch: str) -> Served:
    """Read the flags that decide; unknown ones are SGLang's own business and passed over.

    Args:
        flags: arguments of `sglang.launch_server`, as given.
        arch: "sm_90" and so on, of the GPU that will serve.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in _FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", default="")
    for name in ("disable_cuda_graph", *_POOLS):
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
    given, _ = parser.parse_known_args(list(flags))
    return served_by(given, arch, drafts=bool(given.speculative_algorithm or not flags))


def served_by(given: Any, arch: str, *, drafts: bool | None = None) -> Served:
    """The same of an object with SGLang's names for these flags, such as its `ServerArgs`.

    drafts: whether a draft is to be spoken of; by default where there is an algorithm.
    """
    flag = {name: getattr(given, name, None) or "" for name in _FLAGS}
    chosen = flag["attention_backend"]
    prefill = flag["prefill_attention_backend"] or chosen
    decode = flag["decode_attention_backend"] or chosen
    assumed = not (prefill and decode)
    prefill = prefill or (TRTLLM_MHA if arch in _PREFILLS else "triton")
    decode = decode or (TRTLLM_MHA if arch in _DECODES else "triton")
    verify = decode if flag["speculative_attention_mode"] == "decode" else prefill
    launches = [Launches("prefill", prefill), Launches("decode", decode)]
    if bool(flag["speculative_algorithm"]) if drafts is None else drafts:
        draft = flag["speculative_draft_attention_backend"]
        launches += [
            Launches("target verify", verify),
            Launches("draft decode", draft or decode),
            Launches("draft extend", draft or verify),
        ]
    graphs = not getattr(given, "disable_cuda_graph", False)
    pools = tuple(f"--{name.replace('_', '-')}" for name in _POOLS if getattr(given, name, False))
    return Served(arch, tuple(launches), graphs, assumed, pools)


def uncovered(
    server: Served, mode: str, enabled: frozenset[str], reads_device: frozenset[str]
) -> list[str]:
    """What `mode` leaves uncovered on such a server, one sentence each; none if nothing.

    Args: as `not_checked`.
    """
    found = [
        f"{each.kind} launches: {each.backend} serves them; seen are {', '.join(sorted(SEEN))}"
        for each in server.launches
        if not each.seen
    ]
    everywhere, in_graphs = not_checked(mode, enabled, reads_device)
    if everywhere:
        found.append(f"{', '.join(everywhere)}: mode {mode} reads nothing back, they would")
    if in_graphs and server.graphs:
        found.append(f"{', '.join(in_graphs)} in CUDA graphs: nothing of Python runs in a replay")
    return found


def not_checked(
    mode: str, enabled: frozenset[str], reads_device: frozenset[str]
) -> tuple[list[str], list[str]]:
    """Of the `enabled` invariants: left out everywhere in `mode`, and left out in CUDA graphs.

    Args:
        reads_device: the checks that wait for the device, which only mode `raise` may.
    """
    everywhere = frozenset() if mode == "raise" else enabled & reads_device
    in_graphs = (enabled & EAGER_ONLY) - everywhere
    return _sorted(everywhere), _sorted(in_graphs)


def _sorted(names: frozenset[str]) -> list[str]:
    return sorted(names, key=lambda name: int(name[1:]))
