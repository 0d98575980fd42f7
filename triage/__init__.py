"""Trap, dump, replay and explain KV-cache faults of SGLang on Blackwell.

Importing this package changes nothing and imports neither torch, triton nor
sglang; those come in with the module that needs them.
"""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """`__version__`, looked up when asked for: the lookup is slower than all of `triage --help`."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sglang-triage")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+uninstalled"
