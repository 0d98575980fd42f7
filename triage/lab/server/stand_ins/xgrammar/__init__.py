"""Stand-in: the server runs with `--grammar-backend none`; names exist, use raises."""

from typing import Any

from pydantic import BaseModel


class StructuralTag(BaseModel):
    """SGLang names it in annotations of its request classes."""


class _Absent:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "xgrammar is a stand-in of the lab's bundle: serve with --grammar-backend none, "
            "or put the real xgrammar in its place"
        )


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Absent
