"""Fix `swa-ratio`: a smaller SWA pool for the MoE variant, unless the user chose a ratio.

Gemma-4-26B-A4B has 25 sliding layers to 5 full ones, and eight KV heads in the former to
two in the latter: at SGLang's default ratio of 0.8 the SWA pool takes eight ninths of the
memory and the full pool starves. 0.15 is right there and harmful on the dense variants,
whose SWA pool would be the one to run out.

It resizes production pools, so `auto` never includes it.

The rule: 0.15 where the text config is Gemma-4's with experts and the ratio is SGLang's
default. A ratio on the command line wins, also one equal to the default; the launcher
notes it in the environment, the only thing that its spawned processes inherit. An engine
built in Python cannot say so: there a ratio equal to the default counts as not chosen.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from triage.config import SWA_RATIO_CHOSEN
from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.fix import Fix, Probe, needed, not_applicable

logger = logging.getLogger("triage")

MODULE = "sglang.srt.model_executor.pool_configurator"
CONFIGURATOR = "HybridSWAPoolConfigurator"
FLAG = "--swa-full-tokens-ratio"
RATIO = 0.15


class SwaRatio(Fix):
    name = "swa-ratio"
    what = f"SWA pool of {RATIO} times the full pool for Gemma-4 MoE, unless the user set a ratio"
    automatic = False

    @staticmethod
    def probe() -> Probe:
        """Does this release size hybrid pools from a field of ServerArgs whose default is 0.8?"""
        from sglang.srt.model_executor import pool_configurator
        from sglang.srt.server_args import ServerArgs

        default = getattr(ServerArgs, "swa_full_tokens_ratio", None)
        if not hasattr(pool_configurator, CONFIGURATOR) or not isinstance(default, float):
            return not_applicable(
                "pools are sized from resolved settings, not from ServerArgs; "
                f"pass {FLAG} {RATIO} instead"
            )
        if default <= RATIO:
            return not_applicable(f"the default ratio is {default}")
        return needed(f"the default ratio is {default} for every model, MoE included")

    def __init__(self, arguments: Sequence[str] | None = None) -> None:
        super().__init__()
        arguments = sys.argv if arguments is None else arguments
        if any(argument.split("=")[0] == FLAG for argument in arguments):
            os.environ[SWA_RATIO_CHOSEN] = "1"

    def hooks(self) -> list[Hook]:
        target = f"{MODULE}.{CONFIGURATOR}.__init__"
        return [Hook(target, self.around_init, f"fix {self.name}")]

    def around_init(self, original: Any, configurator: Any, owner: Any) -> None:
        """Let the constructor see the ratio of 0.15; `owner` holds server_args and model_config."""
        arguments = owner.server_args
        if not (self.armed and is_moe(owner.model_config) and not is_chosen(arguments)):
            original(configurator, owner)
            return
        before = arguments.swa_full_tokens_ratio
        self.uses += 1
        try:
            arguments.swa_full_tokens_ratio = RATIO
            original(configurator, owner)
        finally:
            arguments.swa_full_tokens_ratio = before
        logger.info("sglang-triage: SWA pool sized at %s of the full pool (MoE)", RATIO)


def is_moe(model_config: Any) -> bool:
    """Gemma-4 with experts. Dense variants have none, or a `num_experts` of None or 0."""
    architectures = getattr(model_config.hf_config, "architectures", None) or [""]
    text = getattr(model_config, "hf_text_config", None)
    return architectures[0].startswith("Gemma4") and bool(getattr(text, "num_experts", None))


def is_chosen(server_args: Any) -> bool:
    """Did the user set the ratio: on the command line, or to anything but the default?"""
    default = type(server_args).swa_full_tokens_ratio
    return os.environ.get(SWA_RATIO_CHOSEN) == "1" or server_args.swa_full_tokens_ratio != default
