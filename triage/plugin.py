"""Entry point `sglang_triage` of group `sglang.srt.plugins`; SGLang calls it in every process.

Returns at once, having imported only the standard library, unless the
environment asks for a trap, a fix or a fused kernel; a variable that is set and has no
effect is answered with a warning all the same. SGLang logs and swallows
an exception from a plugin, so a trap that was asked for and cannot be bound
leaves with SystemExit: a server that looks guarded and is not is worse than
one that does not start. `SGLANG_TRTLLM_MHA_DEBUG_STRICT=0` turns that into an
error in the log.

The launcher of `python -m sglang.launch_server` runs no forward itself, and binding there
costs a start five seconds of imports: traps, fused ops and the fixes of forwards are bound
in the processes that it spawns.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from dataclasses import replace

LAUNCHER = "sglang.launch_server"
LAUNCHER_FIXES = ("swa-ratio",)
"""Those that change the server's arguments; piecewise graphs have a variable of their own."""

logger = logging.getLogger("triage")


def register() -> None:
    """Bind what the environment asks for. Raises SystemExit if that cannot be done."""
    from triage.config import from_environment, warnings
    from triage.errors import ConfigError, InstallError, log_own_error, type_and_place

    for sentence in warnings():
        logger.warning("sglang-triage: %s", sentence)
    try:
        config = from_environment()
    except ConfigError as error:
        logger.error("sglang-triage: %s", error)
        raise SystemExit(f"sglang-triage: {error}") from error
    if launches_only():
        kept = tuple(name for name in config.fixes if name in LAUNCHER_FIXES)
        config = replace(config, debug=False, fused=(), fixes=kept)
    if not config.asks_for_anything:
        return

    from triage.sglang.install import install

    try:
        install(config)
    except InstallError as error:
        logger.error("sglang-triage is NOT active: %s", error)
        if config.strict:
            raise SystemExit(f"sglang-triage: {error}") from error
    except Exception as error:  # nothing is served yet; SGLang would swallow it
        log_own_error("sglang-triage is NOT active: %s", type_and_place(error), error=error)
        if config.strict:
            raise SystemExit(f"sglang-triage: {type_and_place(error)}") from error


def launches_only() -> bool:
    """Is this the process that only starts others, and no other form of SGLang's server?"""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    return multiprocessing.parent_process() is None and main is not None and main.name == LAUNCHER
