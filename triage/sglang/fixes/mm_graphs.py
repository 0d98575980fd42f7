"""Switch `mm-piecewise-graphs`: piecewise CUDA graphs for Gemma-4 although it is multimodal.

SGLang turns piecewise prefill graphs off for multimodal models, or keeps a list of those
that may have them, on which Gemma-4 is not. Only the language model is captured; the
vision tower stays eager. `SGLANG_ENABLE_PIECEWISE_CUDA_GRAPH_FOR_MM=1` asks for it.

The rule: while SGLang decides, a Gemma-4 model passes that one gate; every other reason to
refuse still holds, and so does a user's own choice. Models whose last layers share the
keys and values of earlier ones (E2B, E4B) stay refused: those layers call attention
without keys inside the capture, which fails or reads keys that the capture never wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.fix import Fix, Probe, already_fixed, needed, not_applicable

logger = logging.getLogger("triage")

ARGS = "sglang.srt.server_args.ServerArgs"
DECISIONS = ("_apply_cuda_graph_compatibility", "_handle_piecewise_cuda_graph")
ARCHITECTURE = "Gemma4ForConditionalGeneration"
LISTED = "is_multimodal_piecewise_cuda_graph_supported"
BLOCKED = "is_piecewise_cuda_graph_disabled_model"


class MultimodalGraphs(Fix):
    name = "mm-piecewise-graphs"
    what = "piecewise CUDA graphs for Gemma-4, language model only (not with KV-shared layers)"
    automatic = False

    @staticmethod
    def probe() -> Probe:
        decision = _decision()
        if decision is None:
            return not_applicable("piecewise graphs cannot be selected in this SGLang")
        if _lists_gemma4():
            return already_fixed(f"{ARCHITECTURE} is on SGLang's list of validated models")
        return needed(f"{decision} refuses piecewise graphs for {ARCHITECTURE}")

    def hooks(self) -> list[Hook]:
        return [Hook(f"{ARGS}.{_decision()}", self.around_decision, f"fix {self.name}")]

    def around_decision(self, original: Any, server_args: Any, *args: Any, **kwargs: Any) -> Any:
        config = server_args.get_model_config()
        refused = refusal(config)
        if not self.armed or refused is not None:
            if self.armed and refused:
                logger.warning("sglang-triage: piecewise graphs stay off: %s", refused)
            return original(server_args, *args, **kwargs)
        self.uses += 1
        with passing(config):
            return original(server_args, *args, **kwargs)


def refusal(model_config: Any) -> str | None:
    """Why this model does not pass the gate; "" where it needs no help, None where it passes."""
    architectures = getattr(model_config.hf_config, "architectures", None) or []
    if not model_config.is_multimodal or ARCHITECTURE not in architectures:
        return ""
    text = getattr(model_config, "hf_text_config", None)
    shared = int(getattr(text, "num_kv_shared_layers", 0) or 0)
    if shared:
        return (
            f"the last {shared} layers of this model share the keys and values of earlier "
            "layers and call attention without any, which a piecewise capture does not carry"
        )
    return None


@contextmanager
def passing(model_config: Any) -> Iterator[None]:
    """Inside, the model passes SGLang's multimodal gate; afterwards its config is as it was."""
    wanted: dict[str, Any]
    if hasattr(model_config, LISTED):
        wanted = {LISTED: True, BLOCKED: _is_blocked_by_name(model_config)}
    else:
        wanted = {"is_multimodal": False}
    saved = {name: getattr(model_config, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(model_config, name, value)
        yield
    finally:
        for name, value in saved.items():
            setattr(model_config, name, value)


def _is_blocked_by_name(model_config: Any) -> bool:
    """The part of BLOCKED that is not about being multimodal."""
    from sglang.srt.configs import model_config as module

    return bool(module.is_piecewise_cuda_graph_disabled_model(model_config.hf_config.architectures))


def _decision() -> str | None:
    """The method of ServerArgs that decides, None where it cannot decide for piecewise graphs."""
    from sglang.srt.server_args import ServerArgs

    return next((name for name in DECISIONS if name in vars(ServerArgs)), None)


def _lists_gemma4() -> bool:
    from sglang.srt.configs import model_config as module

    listed = getattr(module, LISTED, None)
    return listed is not None and bool(listed([ARCHITECTURE]))
