"""Which server flags this GPU needs to serve a Gemma-4 shape, each with its reason.

trtllm_mha is one name for two kernels: trtllm-gen on sm_100 and sm_103, for prefill,
verify and decode; XQA on sm_90 and sm_120, for decode alone. SGLang refuses
trtllm_mha prefill on the latter two (server_args.py: "TRTLLM MHA backend for prefill
is only supported on Blackwell"; 0.5.23 has another kernel for it), so prefill and
the target's verify go through Triton there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from triage.errors import LabError, did_you_mean

TRTLLM_GEN = ((10, 0), (10, 3))
XQA = ((9, 0), (12, 0), (12, 1))
ATTENTION = ("trtllm_mha", "triton")
"""What SGLang serves Gemma-4 through."""

FLASHINFER = "flashinfer"
"""FlashInfer's own backend (fa2), for another model: `laguna.py`."""


XQA_HEAD_DIM_LIMIT = 256
XQA_TAKES_512_SINCE = (0, 7, 2)
"""FlashInfer's XQA: head_dim 512 from 0.7.2 on, for one query a row."""

GRAPH_FLAG_SPLIT_SINCE = (0, 5, 19)
"""0.5.18 still takes --cuda-graph-max-bs, 0.5.23 wants a phase after it."""

PAGE_SIZE = 64
CONTEXT_LENGTH = 9216
RUNNING_REQUESTS = 32
CHUNKED_PREFILL = 1024
TOTAL_TOKENS = 40_000
SWA_RATIO = 0.4


class Flag(NamedTuple):
    """One server flag. `value` is empty for a switch."""

    name: str
    value: str
    why: str

    def words(self) -> list[str]:
        return [self.name, self.value] if self.value else [self.name]


def choose(
    capability: tuple[int, int],
    *,
    mtp: bool,
    draft_path: str | Path = "",
    attention: str = "trtllm_mha",
    small: bool = True,
    total_tokens: int = TOTAL_TOKENS,
    sglang: str = "",
) -> list[Flag]:
    """The flags of `sglang.launch_server` for a GPU of this compute capability.

    mtp: with the assistant at `draft_path`, through frozen-KV MTP.
    attention: "trtllm_mha", or "triton" for every forward; FLASHINFER for another model.
    small: a seeded checkpoint is served; else dummy weights.
    total_tokens: slots of the full pool; few enough that a mixed load runs out of them.
    sglang: version of the installed SGLang, where a flag has changed its name; "" for 0.5.14's.
    Raises LabError for an attention backend that does not run on this GPU.
    """
    graphs = "--cuda-graph-max-bs"
    if release(sglang) >= GRAPH_FLAG_SPLIT_SINCE:
        graphs += "-decode"
    chosen = _attention(capability, attention, mtp)
    if mtp:
        chosen += [
            Flag("--speculative-algorithm", "EAGLE", "SGLang makes frozen-KV MTP of it"),
            Flag("--speculative-draft-model-path", str(draft_path), "the shape's assistant"),
            Flag("--speculative-num-steps", "3", "three draft launches a step"),
            Flag("--speculative-eagle-topk", "1", "trtllm_mha drafts one branch only"),
            Flag("--speculative-num-draft-tokens", "4", "steps + 1: a chain"),
        ]
    if not small:
        chosen.append(Flag("--load-format", "dummy", "there are no weights of this size"))
    chosen += [
        Flag("--skip-tokenizer-init", "", "requests and answers are token ids"),
        Flag("--grammar-backend", "none", "no tokenizer, so no grammar"),
        Flag("--page-size", str(PAGE_SIZE), "what trtllm_mha serves Gemma-4 with"),
        Flag("--context-length", str(CONTEXT_LENGTH), "the longest request of the loads fits"),
        Flag("--max-running-requests", str(RUNNING_REQUESTS), "one batch for every CUDA graph"),
        Flag(graphs, str(RUNNING_REQUESTS), "capture no larger batch than runs"),
        Flag("--chunked-prefill-size", str(CHUNKED_PREFILL), "long prompts come in chunks"),
        Flag("--max-total-tokens", str(total_tokens), "a mixed load fills it and retracts"),
        Flag("--swa-full-tokens-ratio", str(SWA_RATIO), "the SWA pool is the smaller one"),
        Flag("--mem-fraction-static", "0.3" if small else "0.85", "weights and KV pools"),
        Flag("--random-seed", "1", "the same server twice"),
    ]
    return chosen


def head_dim_limit(
    capability: tuple[int, int], attention: str, flashinfer: str | None
) -> int | None:
    """The largest head that the decode kernel takes; None for no limit.

    flashinfer: version of the installed FlashInfer; None or unreadable counts as old.
    """
    if attention != "trtllm_mha" or capability in TRTLLM_GEN:
        return None
    return None if release(flashinfer or "") >= XQA_TAKES_512_SINCE else XQA_HEAD_DIM_LIMIT


def command_line(chosen: Sequence[Flag], given: Sequence[str]) -> list[str]:
    """`chosen` as arguments, less those that `given` sets itself, then `given`."""
    kept = (flag for flag in chosen if flag.name not in _names(given))
    return [word for flag in kept for word in flag.words()] + list(given)


def replaced(chosen: Sequence[Flag], given: Sequence[str]) -> list[Flag]:
    """Those of `chosen` that `given` sets itself, or makes meaningless."""
    return [flag for flag in chosen if flag.name in _names(given)]


def without(chosen: Sequence[Flag], names: Sequence[str]) -> list[Flag]:
    """`chosen` less the flags of these names. Raises LabError for one that was not chosen."""
    ours = [flag.name for flag in chosen]
    for name in names:
        if name not in ours:
            meant = did_you_mean(name, ours)
            raise LabError(f"cannot leave out {name!r}{meant}; chosen here: {', '.join(ours)}")
    return [flag for flag in chosen if flag.name not in names]


def release(version: str) -> tuple[int, ...]:
    """(0, 5, 14) of "0.5.14.post1"; empty where the version does not begin with numbers."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _attention(capability: tuple[int, int], attention: str, mtp: bool) -> list[Flag]:
    if attention == FLASHINFER:
        return [Flag("--attention-backend", "flashinfer", "asked for: FlashInfer's own (fa2)")]
    if attention not in ATTENTION:
        meant = did_you_mean(attention, ATTENTION)
        known = ", ".join(ATTENTION)
        raise LabError(f"no attention backend {attention!r}{meant}; known: {known}")
    if attention == "triton":
        return [Flag("--attention-backend", "triton", "asked for: true head sizes everywhere")]
    gpu = f"sm_{capability[0]}{capability[1]}"
    if capability in TRTLLM_GEN:
        return [
            Flag("--attention-backend", "trtllm_mha", f"trtllm-gen runs every forward on {gpu}")
        ]
    if capability not in XQA:
        known = ", ".join(f"sm_{major}{minor}" for major, minor in (*TRTLLM_GEN, *XQA))
        raise LabError(f"trtllm_mha does not run on {gpu} (it does on {known}); --attention triton")
    chosen = [
        Flag("--prefill-attention-backend", "triton", f"SGLang has no trtllm_mha prefill on {gpu}"),
        Flag("--decode-attention-backend", "trtllm_mha", f"FlashInfer's XQA decodes on {gpu}"),
    ]
    if mtp:
        why = "without it the draft reads its own pool's view and dies"
        chosen.append(Flag("--speculative-draft-attention-backend", "trtllm_mha", why))
    return chosen


def _names(given: Sequence[str]) -> set[str]:
    """Flags that `given` decides. One attention backend replaces the choice of all."""
    names = {word.partition("=")[0] for word in given if word.startswith("--")}
    if "--attention-backend" in names:
        names |= {"--prefill-attention-backend", "--decode-attention-backend"}
    return names
