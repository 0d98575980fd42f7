from __future__ import annotations

from pathlib import Path


def write_model(
    directory: Path,
    shape: str,
    *,
    small: bool,
    assistant: bool = False,
    head_dim_limit: int | None = None,
) -> Path:
    """Write a model of `shape` into `directory` and return that folder.

    Small shapes get a seeded checkpoint beside their config.json.

    small: dimensions cut to a quick start; layer pattern, KV sharing and GQA group stay.
    assistant: the shape's MTP assistant instead of the shape.
    head_dim_limit: 256 where trtllm_mha's kernel takes no larger head; None for true sizes.
    Raises LabError for an unknown shape, listing the known ones.
    """
    raise NotImplementedError
