"""Load our checkpoints through SGLang's own Gemma-4 classes, in a process of their own.

`python loader_child.py DIRECTORY SHAPE...` prints one JSON object a model: tensors that the
loader took no notice of, parameters with entries that no tensor set, parameters in all.
Stood in: vLLM's rotary kernel, which SGLang imports on a machine without a GPU.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import types
from pathlib import Path

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from triage.lab.server import laguna, shapes  # noqa: E402
from triage.lab.settings import Published  # noqa: E402


def main(directory: Path, names: list[str]) -> None:
    kernels = types.ModuleType("vllm._custom_ops")
    kernels.rotary_embedding = None
    sys.modules |= {"vllm": types.ModuleType("vllm"), "vllm._custom_ops": kernels}
    Published()
    from sglang.srt.distributed import parallel_state

    rendezvous = f"file://{tempfile.mkdtemp()}/rendezvous"
    parallel_state.init_distributed_environment(
        world_size=1, rank=0, local_rank=0, backend="gloo", distributed_init_method=rendezvous
    )
    parallel_state.initialize_model_parallel()
    for name in names:
        if name == "laguna":
            print(json.dumps(loaded_laguna(directory / name)), flush=True)
            continue
        for assistant in (False, True):
            print(json.dumps(loaded(directory / name, name, assistant)), flush=True)


def loaded(directory: Path, name: str, assistant: bool) -> dict[str, object]:
    from sglang.srt.models.gemma4_causal import Gemma4ForCausalLM
    from sglang.srt.models.gemma4_mtp import Gemma4AssistantForCausalLM
    from sglang.srt.utils.hf_transformers_utils import get_config

    folder = directory / ("assistant" if assistant else "target")
    shapes.write_model(folder, name, small=True, assistant=assistant)
    config = get_config(str(folder), trust_remote_code=False)
    model = (Gemma4AssistantForCausalLM if assistant else Gemma4ForCausalLM)(config)
    return {"model": f"{name} {folder.name}", **filled(model, folder)}


def loaded_laguna(folder: Path) -> dict[str, object]:
    """The same of the model that FlashInfer serves, and what SGLang reads from its config."""
    from sglang.srt.configs.model_config import get_hybrid_layer_ids, is_hybrid_swa_model
    from sglang.srt.models.laguna import LagunaForCausalLM
    from sglang.srt.utils.hf_transformers_utils import get_config

    _one_rank_of_attention()
    laguna.write_model(folder)
    config = get_config(str(folder), trust_remote_code=False)
    sliding, full = get_hybrid_layer_ids(config.architectures, config)
    return {
        "model": "laguna target",
        **filled(LagunaForCausalLM(config), folder),
        "hybrid": bool(is_hybrid_swa_model(config.architectures, config)),
        "sliding": sliding,
        "full": full,
    }


def _one_rank_of_attention() -> None:
    """What a server says of data-parallel attention before it builds a model: there is none."""
    from sglang.srt.layers import dp_attention

    dp_attention._ATTN_DP_SIZE, dp_attention._ATTN_DP_RANK = 1, 0


def filled(model: torch.nn.Module, folder: Path) -> dict[str, object]:
    """Load every tensor by itself into a model of NaN."""
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    ignored: list[str] = []
    warned: list[str] = []
    said = logging.Handler()
    said.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(type(model).__module__).addHandler(said)
    for tensor, value in load_file(folder / "model.safetensors").items():
        warned.clear()
        answer = model.load_weights([(tensor, value)])
        # Gemma-4's loader answers with what it took, and warns of all others; Laguna's warns only.
        ignored += warned if answer is None else [] if answer else [tensor]
    return {
        "ignored": ignored,
        "not set": [n for n, p in model.named_parameters() if torch.isnan(p.float()).any()],
        "parameters": sum(1 for _ in model.parameters()),
        "head_dims": sorted({layer.self_attn.head_dim for layer in model.model.layers}),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
