"""The write trap (I3) at pools of one kind: a plain MHA pool, the target's or a draft's own.

A hook at the class `MHATokenToKVPool` would be called below every write of a hybrid pool too,
which has been looked at by then; so the object is hooked, once an attention backend is built
over it. What a model stores while it rotates goes around the pool: the slots are looked at where
they are handed to that kernel (`create_fused_set_kv_buffer_arg`), which SGLang uses over such
pools alone. That function is wrapped then too, and only if a model has loaded its module.

Judged is the range of the slots (the dummy page is legal, for padding); that they are the
request's own says the check at the launch.

Not covered: what a draft writes of its accepted tokens alone (`set_kv_buffer_prefix_valid`),
a location masked by context parallelism, slots that a pool translates.
"""

from __future__ import annotations

import functools
import sys
import textwrap
import types
from typing import Any

from torch import Tensor

from triage.errors import TrapError
from triage.sglang.binding.patches import Patch, Patches
from triage.sglang.binding.wrapping import Parameters, written_out
from triage.sglang.launch.hot_state import SAME_WRITE_SRC
from triage.sglang.launch.writes import WriteTrap

WRITES = "set_kv_buffer"
CLASSES = (
    "MHATokenToKVPool",
    "MHATokenToKVPoolFP4",
    "MHATokenToKVPoolMXFP8",
    "PageMajorMHATokenToKVPool",
)
"""By their very class: a subclass may mean something else by a slot."""

FUSED_MODULE, FUSED = "sglang.srt.models.utils", "create_fused_set_kv_buffer_arg"
_MASK = "dcp_kv_mask"


class PlainWrites:
    """The hooked pools of one process."""

    def __init__(self, writes: WriteTrap) -> None:
        self.writes = writes
        self._fused: Patches | None = None

    def built_over(self, runner: Any) -> None:
        """A backend is built for this model runner: hook its pool, if it is one of CLASSES."""
        pool = getattr(runner, "token_to_kv_pool", None)
        if type(pool).__name__ not in CLASSES or pool in self.writes.plain:
            return
        try:
            if getattr(runner, "is_draft_worker", False):
                self.writes.drafts.add(pool)
            wrapper = self._around(getattr(type(pool), WRITES))
            setattr(pool, WRITES, types.MethodType(wrapper, pool))
            self.writes.plain.add(pool)
            self._hook_fused()
        except Exception as error:  # no reason to end a start
            self.writes.reporter.write_shell.failed(error)

    def remove(self) -> None:
        for pool in list(self.writes.plain):
            vars(pool).pop(WRITES, None)
        self.writes.plain.clear()
        if self._fused is not None:
            self._fused.restore()
            self._fused = None

    def _around(self, original: Any) -> Any:
        """Makes the wrapper of `set_kv_buffer(self, layer, loc or loc_info, k, v, ...)`."""
        parameters = Parameters.of(original)
        pool, layer, where = ("_given[0]", "_given[1]", "_given[2]")
        first, masked = "_given = args", f"kwargs.get({_MASK!r})"
        if parameters.named:
            pool, layer, where = parameters.names[:3]
            first, masked = "", _MASK if _MASK in parameters.names else "None"
        else:  # another plugin's wrapper, which takes what comes
            parameters = Parameters("*args, **kwargs", "*args, **kwargs", (), {})
        body = f"""
try:
    {first or "pass"}
    _loc = {where} if {where}.__class__ is Tensor else {where}.loc
{textwrap.indent(SAME_WRITE_SRC.format(loc="_loc", swa_loc="None").strip(), "    ")}
        before_write({pool}, {layer}, {where}, {masked})
except TrapError:
    raise
except Exception as _problem:  # an error of ours: told once, and SGLang goes on
    failed(_problem)
return original(PASSED)
"""
        return written_out(
            original,
            parameters,
            body,
            hot=self.writes.launches.hot,
            before_write=self._before_write,
            failed=self.writes.reporter.write_shell.failed,
            Tensor=Tensor,
            TrapError=TrapError,
        )

    def _before_write(self, pool: Any, layer: Any, where: Any, mask: Any) -> None:
        if not self.writes.reporter.write_shell.on:
            return
        if mask is not None or getattr(where, "full_loc", None) is not None:
            self.writes.reporter.counts["writes not covered"] += 1
            return
        self.writes.look(pool, layer, where if isinstance(where, Tensor) else where.loc)

    # -- stores of a model -------------------------------------------------------------------

    def _hook_fused(self) -> None:
        if self._fused is None and hasattr(sys.modules.get(FUSED_MODULE), FUSED):
            patch = Patch(f"{FUSED_MODULE}.{FUSED}", self.around_fused, "slots of a fused store")
            self._fused = Patches([patch])
            self._fused.install()

    def around_fused(self, original: Any) -> Any:
        """Makes the wrapper of `create_fused_set_kv_buffer_arg(value, layer, forward_batch)`."""
        reporter, hot = self.writes.reporter, self.writes.launches.hot

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if hot.armed and reporter.write_shell.on:
                try:
                    layer = kwargs["layer"] if "layer" in kwargs else args[1]
                    batch = kwargs["forward_batch"] if "forward_batch" in kwargs else args[2]
                    self._stored(layer, batch, result)
                except TrapError:
                    raise
                except Exception as error:
                    reporter.write_shell.failed(error)
            return result

        return wrapper

    def _stored(self, layer: Any, batch: Any, handed: Any) -> None:
        """handed: what the kernel is given; a dict on another platform, which is passed over."""
        loc = getattr(handed, "cache_loc", None)
        pool = getattr(batch, "token_to_kv_pool", None)
        if pool is None:  # 0.5.13.post1 and later
            pool = sys.modules[FUSED_MODULE].get_token_to_kv_pool()
        if loc is not None and pool in self.writes.plain:
            self.writes.look(pool, layer, loc)
