"""The crash itself on this GPU: a model and flags with which wrong page ids leave all memory.

On a released Gemma-4 the stale SWA state sends ids of the full pool into SWA buffers: id x
bytes of an SWA page. With its sizes on a large GPU that often lands in some other buffer and is
silent. Here the sizes are chosen so that it cannot:

    8 KV heads x 256 in the SWA layers against 1 x 256 in the full ones: an SWA page is
    eight times a full page, so the reach of a full id outgrows the full pool's own bytes
    4,194,304 full tokens: ids up to 65,536, 16 GiB from an SWA buffer's base
    --swa-full-tokens-ratio 0.004: the SWA pool itself stays near one GiB
    from a moment on the ids that leave every mapping are handed out first (defect plugin
    `far-first`); until then both pools hand out the same low ids, and nothing is wrong

Weights are SGLang's dummy ones: only addresses matter. `address_map` computes before any
wrong launch which ids leave every mapping; the silent form is the same defect with any
other shape.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from triage.lab.server import shapes

FULL_TOKENS = 4_194_304
SWA_RATIO = 0.004
KV_HEADS = (8, 1)  # SWA, full
HEAD_DIM = 256  # the largest that XQA of FlashInfer before 0.7.2 takes

FLAGS = (
    *("--max-total-tokens", str(FULL_TOKENS)),
    *("--swa-full-tokens-ratio", str(SWA_RATIO)),
    *("--max-running-requests", "8"),
    *("--mem-fraction-static", "0.3"),  # a third of a large GPU: others may be there
)


def shape() -> shapes.Shape:
    """E4B's layers in small, with SWA layers far wider than the full ones."""
    small = shapes.shrunk(shapes.find("E4B"))
    return replace(
        small,
        name="story",
        q_heads=8,
        kv_heads=KV_HEADS,
        head_dim=(HEAD_DIM, HEAD_DIM),
        assistant=replace(small.assistant, q_heads=8),
    )


def write_models(directory: Path) -> tuple[Path, Path]:
    """Write the target and its assistant into `directory`: config files, no weights."""
    mine = shape()
    return (
        shapes.write_model(directory / "target", mine, small=False),
        shapes.write_model(directory / "assistant", mine, small=False, assistant=True),
    )


def reach_bytes(*, page_size: int = 64, element_bytes: int = 2) -> int:
    """How far the highest full page id lands from an SWA buffer's base."""
    return FULL_TOKENS // page_size * KV_HEADS[0] * HEAD_DIM * element_bytes * page_size


def mapped_bytes(*, layers: int = 12, element_bytes: int = 2) -> int:
    """What the KV buffers take, K and V of every layer: must stay well below the reach."""
    full = sum(kind == "full_attention" for kind in shape().layer_types[:layers])
    swa = layers - full
    per_head = 2 * HEAD_DIM * element_bytes
    return int(FULL_TOKENS * per_head * (full * KV_HEADS[1] + SWA_RATIO * swa * KV_HEADS[0]))
