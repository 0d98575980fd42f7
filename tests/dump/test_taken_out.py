"""`triage redact` tells what it took out, and of that nothing but its kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from triage.cli import main
from triage.dump.file import encode
from triage.dump.redact import redact
from triage.dump.taken_out import taken_out


def test_each_part_is_named_and_no_text_of_it_is_told():
    # GIVEN a dump with something in each part that a stranger need not know
    sound = dumps.make_dump(dumps.SMALL)
    dump = replace(
        sound,
        fault=replace(sound.fault, summary="cannot open /home/alice/models/secret"),
        launch=replace(sound.launch, arguments={**sound.launch.arguments, "note": "alice's"}),
        tables=replace(sound.tables, request_ids=("alice-1",)),
        provenance={
            "host": "secret-box",
            "environment": {"AWS_SECRET": "secret"}, "server": {"api_key": "secret"},
        },
        extra={"notes": {"a": "secret"}},
    )  # fmt: skip
    # WHEN it is redacted
    told = taken_out(dump, redact(dump))
    # THEN every part is named
    assert told == (
        "2 texts of the fault and the rows (paths, ids, what was said)",
        "1 text of the launch, the backend and its history",
        "1 environment variable",
        "1 server argument",
        "of its origin host",
        "sections that are not known: notes",
    )
    assert not [each for each in told if "secret" in each or "alice" in each]


def test_a_dump_without_anything_of_the_kind_says_so(tmp_path):
    clean = redact(dumps.make_dump(dumps.SMALL))
    assert taken_out(clean, redact(clean)) == ()
    (tmp_path / "a.msgpack").write_bytes(encode(clean))

    told = CliRunner().invoke(
        main, ["redact", str(tmp_path / "a.msgpack"), "-o", str(tmp_path / "b.msgpack")]
    )

    assert "nothing in it had to be taken out" in told.output


def test_arrays_are_evidence_and_not_compared():
    sound = redact(dumps.make_dump(dumps.SMALL))
    other = replace(
        sound,
        tables=replace(sound.tables, cache_seqlens=np.zeros_like(sound.tables.cache_seqlens)),
    )
    assert taken_out(sound, other) == ()
