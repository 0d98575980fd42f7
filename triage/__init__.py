"""Trap, dump, replay and explain KV-cache faults of SGLang on Blackwell.

Importing this package changes nothing and imports neither torch, triton nor
sglang; those come in with the module that needs them.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sglang-triage")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+uninstalled"
