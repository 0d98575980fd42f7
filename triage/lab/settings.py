"""Publish SGLang's own default settings where each release reads them from.

`ServerArgs(model_path="dummy")` is SGLang's own short-cut for tests: every
default, without the resolution that needs a checkpoint. Up to 0.5.15.post1 the
record is global, later it is a context that can be published and withdrawn.
"""

from __future__ import annotations

from typing import Any

_GROUPS = ("tp", "pp", "dcp", "moe_ep", "moe_dp", "moe_tp")
_ATTENTION_GROUPS = ("attn_tp", "attn_cp", "attn_dcp", "attn_dp")
ONE_GPU = {
    f"{group}_{what}": value
    for group in (*_GROUPS, *_ATTENTION_GROUPS)
    for what, value in (("size", 1), ("rank", 0))
}


class Published:
    """The settings in force from construction until `withdraw`."""

    def __init__(self, **settings: Any) -> None:
        from sglang.srt import server_args

        self._undo: list[Any] = []
        try:
            from sglang.srt import runtime_context
        except ImportError:  # 0.5.12.post1 and 0.5.13.post1
            runtime_context = None
        if runtime_context is not None:
            parallel = runtime_context.get_parallel()
            known = {key: one for key, one in ONE_GPU.items() if hasattr(type(parallel), key)}
            topology = parallel.override(**known)
            topology.__enter__()
            self._undo.append(lambda: topology.__exit__(None, None, None))
            context = runtime_context.get_context()
            if hasattr(context, "override_server_args"):
                override = context.override_server_args(**settings)
                self.server_args = override.install()
                self._undo.append(override.restore)
                return
        self.server_args = server_args.ServerArgs(model_path="dummy")
        for name, value in settings.items():
            setattr(self.server_args, name, value)
        server_args.set_global_server_args_for_scheduler(self.server_args)

    def withdraw(self) -> None:
        while self._undo:
            self._undo.pop()()
