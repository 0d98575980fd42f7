"""Where a dump comes from: what matters to a launch, by name, and nothing else.

The failure: a dump goes to a stranger, and whatever a server's environment or command line
holds (keys, URLs with passwords, headers, names of hosts and users) goes with it, because a
list of forbidden words is never complete. So the lists here say what may be told. A value is
told only if it has the form that its name has; another is told to be "(set)".
"""

from __future__ import annotations

import functools
import getpass
import os
import platform
import re
import socket
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from triage import config

PACKAGES = ("sglang", "flashinfer-python", "torch", "triton", "sglang-triage", "transformers")

_SWITCH = re.compile(r"(?i)0|1|true|false|yes|no|on|off|")
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,6})?")
_NUMBERS = re.compile(r"\d{1,3}(,\d{1,3}){0,31}")
_ARCHITECTURES = re.compile(r"\d{1,2}\.\d[af]?(\+PTX)?([ ;,]\d{1,2}\.\d[af]?(\+PTX)?){0,15}")
_OUR_WORD = r"(I\d\d?|[a-z]{1,12}(-[a-z]{1,12}){0,3})"
_OUR_WORDS = re.compile(rf"({_OUR_WORD}(,{_OUR_WORD}){{0,40}})?")
_ALLOCATOR = re.compile(
    r"((backend|expandable_segments|max_split_size_mb|garbage_collection_threshold|pinned_use_"
    r"cuda_host_register|roundup_power2_divisions):(True|False|native|cudaMallocAsync|[\d.]+),?)+"
)
SET = "(set)"

VARIABLES: dict[str, re.Pattern[str]] = {
    config.DEBUG: _SWITCH,
    config.MODE: _OUR_WORDS,
    config.CHECKS: _OUR_WORDS,
    config.KV: _OUR_WORDS,
    config.EVERY: _NUMBER,
    config.MAX_DUMPS: _NUMBER,
    config.MAX_BYTES: _NUMBER,
    config.STRICT: _SWITCH,
    config.PAGE_HISTORY: _SWITCH,
    config.WITNESS: _NUMBER,
    config.FIXES: _OUR_WORDS,
    config.FUSED: _OUR_WORDS,
    config.MM_GRAPHS: _SWITCH,
    "CUDA_VISIBLE_DEVICES": _NUMBERS,
    "CUDA_LAUNCH_BLOCKING": _SWITCH,
    "CUDA_MODULE_LOADING": re.compile("LAZY|EAGER"),
    "FLASHINFER_CUDA_ARCH_LIST": _ARCHITECTURES,
    "FLASHINFER_DISABLE_JIT": _SWITCH,
    "FLASHINFER_LOGLEVEL": _NUMBER,
    "PYTORCH_ALLOC_CONF": _ALLOCATOR,
    "PYTORCH_CUDA_ALLOC_CONF": _ALLOCATOR,
    "SGLANG_DISABLE_DRAFT_EXTEND_CUDA_GRAPH": _SWITCH,
    "SGLANG_ENABLE_OVERLAP_PLAN_STREAM": _SWITCH,
    "SGLANG_ENABLE_SPEC_V2": _SWITCH,
    "SGLANG_FLASHINFER_USE_PAGED": _SWITCH,
    "SGLANG_FLASHINFER_WORKSPACE_SIZE": _NUMBER,
    "SGLANG_OPT_SWA_RELEASE_LEAF_LOCK_AFTER_WINDOW": _SWITCH,
    "SGLANG_SWA_EVICTION_INTERVAL": _NUMBER,
    "SGLANG_USE_BREAKABLE_CUDA_GRAPH": _SWITCH,
    "SGLANG_USE_HND_KVCACHE": _SWITCH,
    "TORCH_CUDA_ARCH_LIST": _ARCHITECTURES,
    "TRITON_INTERPRET": _SWITCH,
}
"""Environment variable -> the form of a value that may be told."""

SERVER_ARGUMENTS = (
    *("attention_backend", "prefill_attention_backend", "decode_attention_backend", "dtype"),
    *("kv_cache_dtype", "quantization", "page_size", "context_length", "chunked_prefill_size"),
    *("max_running_requests", "max_total_tokens", "max_prefill_tokens", "mem_fraction_static"),
    *("swa_full_tokens_ratio", "disable_hybrid_swa_memory", "disable_radix_cache"),
    *("speculative_algorithm", "speculative_num_steps", "speculative_eagle_topk"),
    *("speculative_num_draft_tokens", "disable_cuda_graph", "cuda_graph_max_bs"),
    *("disable_overlap_schedule", "enable_mixed_chunk", "enable_torch_compile"),
    *("tp_size", "dp_size", "pp_size", "ep_size", "enable_dp_attention"),
)
"""Names among SGLang's server arguments; told where they are numbers, switches or short words."""

WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


def provenance() -> dict[str, Any]:
    """Versions, process, device, and the variables and server arguments of the lists above.

    Cost: reads host memory and the installed packages' metadata; no device is asked but for
    the GPU's name, once.
    """
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "pid": os.getpid(),
        "launcher": os.getppid(),
        "rank": _of_the_form(os.environ.get("RANK", ""), re.compile(r"\d{0,6}")),
        "python": platform.python_version(),
        "command": command_name(sys.argv[0] if sys.argv else ""),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "environment": environment(dict(os.environ)),
        "server": _server_arguments(),
        **_gpu(),
    }


def environment(variables: dict[str, str]) -> dict[str, str]:
    """What may be told of `variables`; names are told as they are listed, never as they came."""
    return {
        name: _of_the_form(variables[name], form)
        for name, form in VARIABLES.items()
        if isinstance(variables.get(name), str)
    }


def identity() -> dict[str, Any]:
    """Host and user: told only where that was asked for."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {"host": socket.gethostname(), "user": user}


def server_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What may be told of SGLang's server arguments, `given` by name."""
    found: dict[str, Any] = {}
    for name in SERVER_ARGUMENTS:
        value = given.get(name)
        if isinstance(value, (bool, int, float)):
            found[name] = value
        elif isinstance(value, str):
            found[name] = _of_the_form(value, WORD)
    return found


def command_name(path: str) -> str:
    """The command's file name, without where it lies; "" for anything that is not plain."""
    name = Path(path).name
    return name if re.fullmatch(r"[A-Za-z_][\w.-]{0,39}", name) else ""


def _of_the_form(text: str, form: re.Pattern[str]) -> str:
    return text if form.fullmatch(text) else SET


def _server_arguments() -> dict[str, Any]:
    """Of the server in this process, if it is one and can say."""
    module = sys.modules.get("sglang.srt.server_args")
    try:
        found = module.get_global_server_args()  # type: ignore[union-attr]
    except Exception:  # no server here, or a release that asks otherwise
        return {}
    return server_arguments({name: getattr(found, name, None) for name in SERVER_ARGUMENTS})


@functools.cache
def _gpu() -> dict[str, Any]:
    """Asked once, before anything went wrong: a lost device answers no more."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {"gpu": "none"}
    device = torch.cuda.current_device()
    major, minor = torch.cuda.get_device_capability(device)
    return {
        "gpu": torch.cuda.get_device_name(device),
        "arch": f"sm_{major}{minor}",
        "sm_count": torch.cuda.get_device_properties(device).multi_processor_count,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
