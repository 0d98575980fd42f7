"""Name the trtllm-gen kernel that a recorded call selects, from FlashInfer's public metadata."""

from __future__ import annotations

from collections.abc import Sequence

from triage.dump.flashinfer_api import CONTEXT
from triage.dump.sections import Dump
from triage.errors import ReplayError
from triage.resolver.pins import PINS, Version, parse_version
from triage.resolver.select import Call, Resolution, Selector
from triage.resolver.table import Kernel

B200_SM_COUNT = 148

_TYPES = {
    "bfloat16": "BF16",
    "float16": "FP16",
    "float8_e4m3fn": "E4M3",
}


def recorded_version(dump: Dump) -> Version | None:
    """The FlashInfer release of the recorded process; None if the dump does not say it."""
    versions = dump.provenance.get("versions")
    known = versions if isinstance(versions, dict) else {}
    text = known.get("flashinfer-python") or known.get("flashinfer")
    text = text or dump.provenance.get("flashinfer")
    return parse_version(text) if isinstance(text, str) and text[:1].isdigit() else None


def call_of(
    dump: Dump,
    version: Version,
    *,
    arch: str = "",
    sm_count: int = 0,
) -> Call:
    """The recorded launch as the selection sees it.

    Args:
        arch, sm_count: of the GPU; taken from the dump, else those of a B200.
    Raises:
        ReplayError: if the launch is of a type or shape that trtllm-gen does not take.
    """
    launch = dump.launch
    if launch is None or dump.tables is None:
        raise ReplayError("the dump holds no launch with its tables")
    if launch.num_q_heads % launch.num_kv_heads:
        raise ReplayError(
            f"{launch.num_q_heads} query heads do not group over {launch.num_kv_heads} KV heads"
        )
    if launch.page_size & (launch.page_size - 1):
        raise ReplayError(f"page size {launch.page_size} is no power of two; no kernel takes it")
    recorded_arch = str(dump.provenance.get("arch", "")).removeprefix("sm_")
    recorded_sms = dump.provenance.get("sm_count")
    longest = launch.q_len_per_req
    if launch.cum_seq_lens_q is not None:
        offsets = launch.cum_seq_lens_q
        longest = int((offsets[1:] - offsets[:-1]).max(initial=1))
    q_type = _type(dump, "query")
    return Call(
        version=version,
        arch=arch or (recorded_arch if recorded_arch in ("100", "103") else "100"),
        sm_count=sm_count or (recorded_sms if isinstance(recorded_sms, int) else B200_SM_COUNT),
        q_type=q_type,
        kv_type=_type(dump, "k_cache"),
        out_type=_out_type(dump, q_type),
        num_q_heads=launch.num_q_heads,
        num_kv_heads=launch.num_kv_heads,
        head_dim=launch.head_dim,
        page_size=launch.page_size,
        batch_size=max(len(dump.tables.cache_seqlens), 1),
        max_q_len=max(longest, 1),
        max_kv_len=launch.max_seq_len,
        window_left=launch.window_left,
        context=launch.api == CONTEXT,
        skips_softmax=isinstance(
            launch.arguments.get("skip_softmax_threshold_scale_factor"), float
        ),
    )


def resolve(call: Call, kernels: Sequence[Kernel] = ()) -> Resolution:
    """The kernel or kernels that `call` runs, or the key that no kernel has.

    Args:
        kernels: the release's own; else those of the nearest table that is shipped.
    """
    return Selector(call, kernels).resolve()


def known_versions() -> list[Version]:
    return sorted(PINS)


def _type(dump: Dump, tensor: str) -> str:
    assert dump.launch is not None
    facts = dump.launch.tensors.get(tensor)
    name = "bfloat16" if facts is None else facts.dtype.removeprefix("torch.")
    if name not in _TYPES:
        raise ReplayError(f"{tensor} is {name}; the kernel table covers {', '.join(_TYPES)}")
    return _TYPES[name]


def _out_type(dump: Dump, q_type: str) -> str:
    """The recorded output type, else that of the queries (FlashInfer's own default)."""
    assert dump.launch is not None
    recorded = str(dump.launch.arguments.get("out_dtype") or "").removeprefix("torch.")
    return _TYPES.get(recorded, q_type)
