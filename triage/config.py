"""Every environment variable, read once into a frozen record.

Environment variables are the only channel: SGLang spawns its scheduler
processes and each loads the plugin anew. A value that does not parse is an
error naming variable, value and what is accepted, and so is a variable under our
prefixes that nobody reads; nothing is quietly ignored. One of them is not read here:
`SGLANG_TRIAGE_SWA_RATIO_CHOSEN`, which fix `swa-ratio` sets for its own children.
Imports nothing but the standard library, our errors and the catalogue, because the
plugin reads it in every SGLang process, armed or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from triage.errors import ConfigError, did_you_mean
from triage.invariants.catalogue import BY_DEFAULT, BY_NAME, DEFAULT, FAMILIES, of_family

DEBUG = "SGLANG_TRTLLM_MHA_DEBUG"
DIRECTORY = "SGLANG_TRTLLM_MHA_DEBUG_DIR"
SPOOL = "SGLANG_TRTLLM_MHA_DEBUG_SPOOL"
MODE = "SGLANG_TRTLLM_MHA_DEBUG_MODE"
CHECKS = "SGLANG_TRTLLM_MHA_DEBUG_CHECKS"
KV = "SGLANG_TRTLLM_MHA_DEBUG_KV"
MAX_DUMPS = "SGLANG_TRTLLM_MHA_DEBUG_MAX_DUMPS"
MAX_BYTES = "SGLANG_TRTLLM_MHA_DEBUG_MAX_BYTES"
EVERY = "SGLANG_TRTLLM_MHA_DEBUG_EVERY"
STRICT = "SGLANG_TRTLLM_MHA_DEBUG_STRICT"
IDENTITY = "SGLANG_TRTLLM_MHA_DEBUG_IDENTITY"
PAGE_HISTORY = "SGLANG_TRTLLM_MHA_DEBUG_PAGE_HISTORY"
WITNESS = "SGLANG_TRTLLM_MHA_DEBUG_WITNESS"
FIXES = "SGLANG_TRIAGE_FIXES"
FUSED = "SGLANG_TRIAGE_FUSED"
MM_GRAPHS = "SGLANG_ENABLE_PIECEWISE_CUDA_GRAPH_FOR_MM"
SWA_RATIO_CHOSEN = "SGLANG_TRIAGE_SWA_RATIO_CHOSEN"
"""Set by fix `swa-ratio` in the launcher, read by it in the processes below; not for users."""

_OURS = ("SGLANG_TRTLLM_MHA_DEBUG_", "SGLANG_TRIAGE_")
_FOR_USERS = (
    DEBUG,
    DIRECTORY,
    SPOOL,
    MODE,
    CHECKS,
    KV,
    MAX_DUMPS,
    MAX_BYTES,
    EVERY,
    STRICT,
    IDENTITY,
    PAGE_HISTORY,
    WITNESS,
    FIXES,
    FUSED,
    MM_GRAPHS,
)

EVERY_FAMILY = "all"
DEFAULT_DIRECTORY = Path("/tmp/trtllm_mha_debug")
MODES = ("raise", "contain", "log")
STORES = ("s3", "gs", "abfs", "az", "file")
"""Protocols of fsspec that dumps may be uploaded to."""

_URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment asks for, every question answered.

    upload: the URL that dumps go to; "" where `directory` is where they stay.
    """

    debug: bool = False
    directory: Path = DEFAULT_DIRECTORY
    upload: str = ""
    mode: str = "raise"
    checks: tuple[str, ...] = (DEFAULT,)
    kv: str = "none"
    every: int = 1
    max_dumps: int = 32
    max_bytes: int = 1 << 30
    strict: bool = True
    identity: bool = False
    page_history: bool = True
    witness: int = 0
    fixes: tuple[str, ...] = ()
    fused: tuple[str, ...] = ()
    mm_graphs: bool = False

    @property
    def asks_for_anything(self) -> bool:
        """False means: bind nothing, import nothing, cost nothing."""
        return self.debug or bool(self.fixes) or bool(self.fused) or self.mm_graphs


def from_environment(environment: Mapping[str, str] | None = None) -> Config:
    """Read the variables above.

    Raises:
        ConfigError: for the first variable that is not one of them, or does not parse.
    """
    env = os.environ if environment is None else environment
    _refuse_unknown(env)
    mode = _choice(env, MODE, "raise", MODES)
    return Config(
        debug=_flag(env, DEBUG, False),
        directory=local_directory(env),
        upload=_upload(env),
        mode=mode,
        checks=_checks(env),
        kv=_choice(env, KV, "none", ("none", "touched")),
        every=_count(env, EVERY, 1),
        max_dumps=_count(env, MAX_DUMPS, 32),
        max_bytes=_count(env, MAX_BYTES, 1 << 30),
        strict=_flag(env, STRICT, True),
        identity=_flag(env, IDENTITY, False),
        page_history=_flag(env, PAGE_HISTORY, mode == "raise"),
        witness=_count(env, WITNESS, 0, least=0),
        fixes=_list(env, FIXES),
        fused=_list(env, FUSED),
        mm_graphs=_flag(env, MM_GRAPHS, False),
    )


def local_directory(env: Mapping[str, str]) -> Path:
    """Where dumps are written on this machine: the directory itself, or the spool of a URL.

    The spool is the same for the same URL, so that the next start finds what this one left.
    """
    given = env.get(DIRECTORY) or ""
    if not _URL.fullmatch(given):
        return Path(given or DEFAULT_DIRECTORY)
    if spool := env.get(SPOOL):
        return Path(spool)
    import hashlib  # for a URL only: a server that asks for nothing imports as little

    return DEFAULT_DIRECTORY / f"spool-{hashlib.sha256(given.encode()).hexdigest()[:12]}"


def _upload(env: Mapping[str, str]) -> str:
    """The URL in place of a directory, "" where there is none."""
    given = env.get(DIRECTORY) or ""
    parts = _URL.fullmatch(given)
    if parts is None:
        if env.get(SPOOL):
            raise ConfigError(
                f"{SPOOL}={env[SPOOL]!r} has a meaning only where {DIRECTORY} is a URL, "
                f"as s3://bucket/dumps; it is {given!r}"
            )
        return ""
    known = ", ".join(f"{name}://" for name in STORES)
    if parts["protocol"] not in STORES:
        raise ConfigError(
            f"{DIRECTORY}: {parts['protocol']!r} is no store that is known; accepted: a "
            f"directory, or a URL of {known}"
        )
    place = parts["rest"]
    if "@" in place.partition("/")[0]:
        raise ConfigError(
            f"{DIRECTORY} holds a user or a password; name them as the store's own variables do "
            "(AWS_ACCESS_KEY_ID, a profile, a role)"
        )
    absolute = place.startswith("/") == (parts["protocol"] == "file")
    if not place.strip("/") or not absolute or not place.isprintable():
        raise ConfigError(
            f"{DIRECTORY}={given!r} names no bucket; accepted: a directory, or as s3://bucket/dumps"
        )
    return given.rstrip("/")


def warnings(environment: Mapping[str, str] | None = None) -> list[str]:
    """What is set and will have no effect, one sentence each; nothing here stops a server.

    A variable of the traps while they are not armed, and a name that differs from one of
    ours in one letter. Values are not looked at: `from_environment` refuses bad ones.
    """
    env = os.environ if environment is None else environment
    found = []
    if env.get(DEBUG, "").strip().lower() in _FALSE:
        found = [
            f"{name}={env[name]!r} has no effect: the traps are armed by {DEBUG}=1 only"
            for name in _FOR_USERS
            if name in env and name.startswith(f"{DEBUG}_")
        ]
    for name in sorted(env):
        meant = next((ours for ours in _FOR_USERS if one_letter_away(name, ours)), "")
        if meant and name not in _FOR_USERS:
            found.append(f"{name}={env[name]!r} has no effect: is {meant} meant?")
    return found


def one_letter_away(name: str, other: str) -> bool:
    """Does one letter more, less, changed, or swapped with its neighbour make them equal?"""
    if abs(len(name) - len(other)) > 1 or name == other:
        return False
    differ = (i for i, (one, two) in enumerate(zip(name, other, strict=False)) if one != two)
    start = next(differ, min(len(name), len(other)))
    left, right = name[start:], other[start:]
    swapped = left[1:2] + left[:1] + left[2:]
    return right in (left[1:], swapped) or left == right[1:] or left[1:] == right[1:]


def invariants_of(checks: tuple[str, ...]) -> frozenset[str]:
    """The invariants that families, single names and `default` stand for."""
    by_default = BY_DEFAULT if DEFAULT in checks else frozenset()
    return by_default | asked_as_a_whole(checks)


def asked_as_a_whole(checks: tuple[str, ...]) -> frozenset[str]:
    """Those that are asked for by family or by name, with all that they cost."""
    return frozenset(
        name for check in checks if check != DEFAULT for name in (of_family(check) or (check,))
    )


def _refuse_unknown(env: Mapping[str, str]) -> None:
    for name in sorted(env):
        if name.startswith(_OURS) and name not in (*_FOR_USERS, SWA_RATIO_CHOSEN):
            raise ConfigError(
                f"{name}={env[name]!r} is not a variable of sglang-triage"
                f"{did_you_mean(name, _FOR_USERS)}; "
                f"accepted: {', '.join(_FOR_USERS)}"
            )


def _flag(env: Mapping[str, str], name: str, default: bool) -> bool:
    if name not in env:
        return default
    text = env[name].strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ConfigError(f"{name}={env[name]!r} is not a switch; accepted: 0 or 1")


def _choice(env: Mapping[str, str], name: str, default: str, known: tuple[str, ...]) -> str:
    text = env.get(name, "").strip().lower() or default
    if text not in known:
        meant = did_you_mean(text, known)
        raise ConfigError(f"{name}={env[name]!r} is not known{meant}; accepted: {', '.join(known)}")
    return text


def _count(env: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(f"{name}={env[name]!r} is not a whole number of at least {least}")
    return int(text)


def _checks(env: Mapping[str, str]) -> tuple[str, ...]:
    """Families and invariants; `all` is every family, `default` what is on without the variable."""
    found = _list(env, CHECKS, known=(DEFAULT, EVERY_FAMILY, *FAMILIES), also=tuple(BY_NAME))
    return tuple(FAMILIES) if EVERY_FAMILY in found else found or (DEFAULT,)


def _list(
    env: Mapping[str, str], name: str, known: tuple[str, ...] = (), also: tuple[str, ...] = ()
) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())
    for part in parts:
        if known and part not in (*known, *also):
            accepted = f"{', '.join(known)}, {also[0]} to {also[-1]}"
            meant = did_you_mean(part, (*known, *also))
            raise ConfigError(f"{name}: {part!r} is not known{meant}; accepted: {accepted}")
    return parts
