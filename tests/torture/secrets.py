"""Forty secrets, where a server may hold one, each a word or number that nothing else bears."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

WORD = "CANARY{:02d}QZ"
ENVIRONMENT = {
    "SGLANG_API_KEY": "{}",
    "sglang_api_key": "{}",
    "SGLANG_x_token": "Bearer {}",
    "SGLANG_X_PASSWD": "{}",
    "SGLANG_X_PWD": "{}",
    "SGLANG_S3_CRED": "{}",
    "SGLANG_BEARER": "{}",
    "SGLANG_PG_URL": "postgres://user:{}@host/db",
    "SGLANG_HTTP_HEADERS": "Authorization: Bearer {}",
    "sglang_proxy_headers": "X-Api-Key: {}",
    "HF_TOKEN": "hf_{}",
    "hf_token": "hf_{}",
    "OPENAI_API_KEY": "sk-{}",
    "AWS_SECRET_ACCESS_KEY": "{}",
    "NCCL_SOCKET_IFNAME": "{}",
    "NCCL_X": "{}",
    "CUDA_X": "{}",
    "CUDA_VISIBLE_DEVICES": "GPU-{}",
    "PYTORCH_X": "{}",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True,{}",
    "TORCH_HOME": "/home/{}/torch",
    "TRITON_X": "/home/{}/triton",
    "FLASHINFER_X": "https://user:{}@mirror/wheels",
    "FLASHINFER_LOGLEVEL": "{}",
    "HTTPS_PROXY": "http://user:{}@proxy:3128",
    "https_proxy": "http://user:{}@proxy:3128",
    "USER": "{}",
    "LOGNAME": "{}",
    "RANK": "{}",
}
"""Variable -> its value, {} being the secret; in both cases, in names that matter and others."""

WORDS = {name: WORD.format(number) for number, name in enumerate(ENVIRONMENT)}
HOST, ARGUMENT, PROMPT, FILE, HEADER, URL, REQUEST, COMMAND = (
    WORD.format(len(ENVIRONMENT) + number) for number in range(8)
)
TOKENS = (7717177, 7727277)  # ids of a vocabulary's far end
KV = 0.015716552734375  # a float16 that no other tensor here holds
ALL = (*WORDS.values(), HOST, ARGUMENT, PROMPT, FILE, HEADER, URL, REQUEST, COMMAND)
COUNT = len(ALL) + len(TOKENS) + 1


def planted_environment() -> dict[str, str]:
    return {name: form.format(WORDS[name]) for name, form in ENVIRONMENT.items()}


def plant() -> None:
    """Into this process: host, command line; the environment was given to it."""
    socket.gethostname = lambda: HOST
    os.uname = lambda: os.uname_result(("Linux", HOST, "", "", ""))  # type: ignore[assignment]
    sys.argv = [f"/opt/{COMMAND}/launch_server.py", "--api-key", ARGUMENT]


def exception() -> Exception:
    """What SGLang may raise with a user's words in it."""
    return ValueError(
        f"cannot tokenise 'my password is {PROMPT}' of request {REQUEST} "
        f"({HEADER}: 1; https://u:{URL}@host/x; /data/{FILE}/model)"
    )


def found_in(content: bytes) -> list[str]:
    """The secrets in `content`, text or numbers, in either byte order."""
    import numpy as np

    lower = content.lower()
    seen = [word for word in ALL if word.lower().encode() in lower]
    for token in TOKENS:
        forms = [str(token).encode(), *(np.array(token, kind).tobytes() for kind in (">i4", "<i4"))]
        seen += [str(token)] * any(form in content for form in forms)
    pages = np.full(4, KV, np.float16).tobytes()
    return seen + ["KV"] * (pages in content)


def found_under(directory: Path) -> list[str]:
    return [
        f"{path.name}: {secret}"
        for path in sorted(directory.rglob("*"))
        for secret in found_in(path.name.encode() + (path.read_bytes() if path.is_file() else b""))
    ]
