"""Folders of dumps whose causes are known, for the tests of the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.dumps_fixture import SMALL, make_dump
from triage.dump.file import encode
from triage.dump.sections import Dump

SGLANG = {"versions": {"sglang": "0.5.14", "flashinfer-python": "0.6.12"}}


def dump(table: str = "full ids", time: str = "2026-11-20T10:00:00+0000", **known: Any) -> Dump:
    """A small dump; `known` goes into its provenance."""
    made = make_dump(SMALL, table)
    return replace(made, provenance={**SGLANG, "time": time, **known})


def fill(folder: Path, **dumps: Dump) -> Path:
    """Each under its name; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, each in dumps.items():
        (folder / f"{name}.msgpack").write_bytes(encode(each))
    return folder


def as_version(content: bytes, version: int) -> bytes:
    """The file as a writer of another format would begin it."""
    head, rest = content[:20], content[20:]
    assert rest[0] == 1, "the format version stands behind the magic"
    return head + bytes([version]) + rest[1:]
