"""The hooks at SGLang's attention backend and at the FlashInfer call below it.

Thin: each notes where it stands, asks the traps, and goes on. What every layer calls is
patched by ourselves (`patches.py`), the rest goes through SGLang's registry.

Long because the source of each wrapper stands beside what it calls.
"""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from triage.device import capture
from triage.device.cuda_streams import streams_of
from triage.dump.flashinfer_api import CONTEXT, DECODE
from triage.errors import InstallError, TrapError
from triage.sglang.binding.hooks import Hook
from triage.sglang.binding.patches import Patch
from triage.sglang.binding.wrapping import Function, Parameters, written_out
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.hot_state import (
    SAME_FORWARD_SRC,
    SAME_LAUNCH_SRC,
    Replacement,
    first_extent,
)
from triage.sglang.launch.order import Order
from triage.sglang.launch.watching import FORM

BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"
FLASHINFER = {DECODE: "flashinfer.decode", CONTEXT: "flashinfer.prefill"}
GRAPH_ENTRIES = (
    "init_forward_metadata_out_graph",  # 0.5.13.post1 and later
    "init_forward_metadata_in_graph",  # 0.5.15.post1 and later
    "init_forward_metadata_capture_cuda_graph",  # 0.5.12.post1
    "init_forward_metadata_replay_cuda_graph",
)

_LOOKED_AT = {
    "kv_cache": None,
    "block_tables": None,
    "seq_lens": None,
    "window_left": -1,
    "q_len_per_req": None,
    "cum_seq_lens_q": None,
}
"""What `SAME_LAUNCH_SRC` looks at, and what stands for it where FlashInfer has no such name."""


class Observer(Protocol):
    """Looks at what launches answer. `triage/sglang/witness/witness.py` is one."""

    looking: bool

    def observe(self, api: str, arguments: Mapping[str, Any], result: Any) -> None:
        """A launch was queued. Must not raise, nor wait."""


class AttentionHooks:
    """The hooks of one process. Disarmed, each costs one attribute test."""

    def __init__(
        self, launches: LaunchGuard, witness: Observer | None = None, order: Order | None = None
    ) -> None:
        """Args:
        witness: is shown what a launch answered, while it is `looking`; None for none.
        order: is told of refills; None where nobody asks for their order.
        """
        self.launches = launches
        self.witness = witness
        self.order = order
        self.hot = launches.hot
        self.absent: dict[str, str] = {}  # what this SGLang cannot be watched at -> why

    def hooks(self) -> list[Hook]:
        module, _, name = BACKEND.rpartition(".")
        backend = getattr(importlib.import_module(module), name)
        entries = [entry for entry in GRAPH_ENTRIES if entry in vars(backend)]
        if not entries:
            known = ", ".join(GRAPH_ENTRIES)
            self.absent["launches in CUDA graphs"] = f"{BACKEND} has none of {known}"
        return [
            Hook(f"{BACKEND}.__init__", self.constructed, "what a backend was built for"),
            Hook(f"{BACKEND}.init_forward_metadata", self.metadata_built, "tables are new"),
            *(
                Hook(f"{BACKEND}.{e}", self.graph_metadata, "graph's tables are new")
                for e in entries
            ),
        ]

    def patches(self) -> list[Patch]:
        entry = "layer and batch of a launch"
        return [
            Patch(
                f"{FLASHINFER[DECODE]}.{DECODE}", self.launch(DECODE), "page-table traps, decode"
            ),
            Patch(
                f"{FLASHINFER[CONTEXT]}.{CONTEXT}",
                self.launch(CONTEXT),
                "page-table traps, prefill",
            ),
            Patch(f"{BACKEND}.forward_decode", self.entered, entry),
            Patch(f"{BACKEND}.forward_extend", self.entered, entry),
        ]

    def launch(self, api: str) -> Callable[[Function], Function]:
        """Makes the wrapper of a FlashInfer call: what was checked for it, or the traps' answer."""

        def around(original: Function) -> Function:
            parameters = Parameters.of(original)
            if not parameters.named:
                return self._launch_by_keyword(api, original)
            parameters.require(original, "kv_cache", "block_tables", "seq_lens")
            names = {
                name: name if name in parameters.names else str(default)
                for name, default in _LOOKED_AT.items()
            }
            passed = _by_name(parameters.names)
            form = ", ".join(
                name if name in parameters.names else str(_LOOKED_AT.get(name)) for name in FORM
            )
            body = f"""
if not hot.armed:
    return original(PASSED)
try:
{_indented(SAME_LAUNCH_SRC.format(**names))}
        _given = _checked.replacement
    else:
        _checked = repeated(api, {form})
        _given = _checked.replacement if _checked is not None else ask({passed})
except TrapError:
    raise
except Exception as _problem:
    _given = failed(_problem)
if _given is not None:
    block_tables, seq_lens = _given
{self._call(api, passed)}
"""

            def ask(arguments: dict[str, Any]) -> Replacement | None:
                if self.launches.reporter.reads_device:  # and may write a dump of what was passed
                    arguments = _as_passed(arguments, parameters)
                return self.launches.replacements(api, arguments)

            return written_out(
                original,
                parameters,
                body,
                hot=self.hot,
                ask=ask,
                extent=first_extent,
                repeated=self.launches.watching.repeated,
                failed=self.launches.reporter.launch_shell.failed,
                TrapError=TrapError,
                api=api,
                witness=self.witness,
            )

        return around

    def _call(self, api: str, arguments: str) -> str:
        """Source of the call of FlashInfer itself; with a witness what it answers is shown it."""
        if self.witness is None:
            return "return original(PASSED)"
        return f"""
_result = original(PASSED)
if witness.looking:
    witness.observe(api, {arguments}, _result)
return _result
""".strip("\n")

    def _launch_by_keyword(self, api: str, original: Function) -> Function:
        """For an original without parameters of its own, such as another plugin's wrapper."""
        parameters = Parameters("*args, **kwargs", "*args, **kwargs", (), {})
        names = {name: f"_named.get({name!r}, {value})" for name, value in _LOOKED_AT.items()}
        form = ", ".join(f"_named.get({name!r}, {_LOOKED_AT.get(name)})" for name in FORM)
        watched = ""
        if self.witness is not None:
            watched = "if witness.looking: witness.observe(api, _named, _result)"
        body = f"""
if not hot.armed:
    return original(PASSED)
try:
    _named = by_name(args, kwargs) if args else kwargs
{_indented(SAME_LAUNCH_SRC.format(**names))}
        _given = _checked.replacement
    else:
        _checked = repeated(api, {form})
        _given = _checked.replacement if _checked is not None else ask(_named)
except TrapError:
    raise
except Exception as _problem:
    _given = failed(_problem)
if _given is not None:
    _named["block_tables"], _named["seq_lens"] = _given
_result = original(PASSED) if _given is None else original(**_named)
{watched}
return _result
"""

        def by_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            return {**AttentionCall.of(api, args, kwargs).arguments}

        def ask(arguments: dict[str, Any]) -> Replacement | None:
            return self.launches.replacements(api, arguments)

        return written_out(
            original,
            parameters,
            body,
            hot=self.hot,
            ask=ask,
            by_name=by_name,
            extent=first_extent,
            repeated=self.launches.watching.repeated,
            failed=self.launches.reporter.launch_shell.failed,
            TrapError=TrapError,
            api=api,
            witness=self.witness,
        )

    def entered(self, original: Function) -> Function:
        """Makes the wrapper of a backend's forward: notes whose launches come from inside."""
        parameters = Parameters.of(original)
        first = ""
        if parameters.named or {"layer", "forward_batch"} <= set(parameters.names):
            parameters.require(original, "layer", "forward_batch")
            backend, layer, batch = parameters.names[0], "layer", "forward_batch"
        else:  # another plugin's wrapper, which takes what comes
            parameters = Parameters("*args, **kwargs", "*args, **kwargs", (), {})
            backend, layer, batch = "_backend", "_layer", "_batch"
            first = "_backend, _layer, _batch = entry_of(args, kwargs)"
        body = f"""
if not hot.armed:
    return original(PASSED)
_before = hot.current_call
try:
    {first}
    hot.current_call = ({backend}, {layer}, {batch})
    if capture.capturing() is not hot.capturing:
        hot.on_capture_change()
{_indented(SAME_FORWARD_SRC.format(backend=backend, batch=batch))}
except TrapError:
    raise
except Exception as _problem:
    failed(_problem)
try:
    return original(PASSED)
finally:
    hot.current_call, hot.forward = _before, None
"""
        return written_out(
            original,
            parameters,
            body,
            hot=self.hot,
            capture=capture,
            entry_of=entry_of,
            failed=self.launches.reporter.launch_shell.failed,
            TrapError=TrapError,
        )

    def constructed(
        self, original: Any, backend: Any, model_runner: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if self.hot.armed:
            self.launches.note_backend(backend, model_runner)
        result = original(backend, model_runner, *args, **kwargs)
        if self.hot.armed:
            try:
                self.launches.watching.prepare(backend)
                self._see_packed_slots()
            except InstallError as error:  # with STRICT alone, which may end what serves nobody
                if self.launches.reporter.serving:
                    raise
                raise SystemExit(f"sglang-triage: {error}") from error
        return result

    def metadata_built(
        self, original: Any, backend: Any, forward_batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """An idle rank under data parallelism builds metadata of no rows and launches nothing."""
        if self.hot.armed:
            self.launches.forget_tables(backend, launches=forward_batch.batch_size > 0)
        return original(backend, forward_batch, *args, **kwargs)

    def graph_metadata(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        if self.hot.armed:
            self.launches.forget_tables(backend, graph=True)
        result = original(backend, *args, **kwargs)
        if self.order is not None and self.hot.armed:
            self.order.refilled(backend)
        return result

    def _see_packed_slots(self) -> None:
        """The device is known with the first backend."""
        watch = self.launches.watching.watch
        if self.order is not None and self.order.streams is None and watch is not None:
            self.order.streams = streams_of(watch.checker.device)


def entry_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Backend, layer and batch of a forward that is called through another's wrapper.

    SGLang's own order is `(self, q, k, v, layer, forward_batch, ...)` in every release read.
    """
    layer = kwargs["layer"] if "layer" in kwargs else args[4]
    batch = kwargs["forward_batch"] if "forward_batch" in kwargs else args[5]
    return args[0], layer, batch


def _indented(source: str) -> str:
    return textwrap.indent(source.strip("\n"), "    ")


def _by_name(names: Iterable[str]) -> str:
    """Source text of a dict of these variables."""
    return f"{{{', '.join(f'{name!r}: {name}' for name in names)}}}"


def _as_passed(arguments: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    """Without what FlashInfer defaults anyway, except where the traps look at it."""
    defaults = parameters.defaults
    return {
        name: value
        for name, value in arguments.items()
        if name in _LOOKED_AT or name not in defaults or value is not defaults[name]
    }
