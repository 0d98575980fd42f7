"""A dump that decodes may still hold any numbers: every reader answers, none breaks or hangs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import dumps_fixture as dumps
from triage.dump.file import decode, encode
from triage.dump.sections import Dump, Ragged, Tables
from triage.errors import TriageError
from triage.explain import explain
from triage.explain.together import Input, together
from triage.export import FORMATS, export
from triage.minimise import minimise
from triage.replay.deduction import deduce
from triage.replay.eager import run_eager
from triage.replay.fixes import FIXES
from triage.report.brief import brief
from triage.report.contents import contents
from triage.report.page import html
from triage.report.summary import summarise
from triage.resolver import call_of, known_versions, resolve

LONG = (0, 1, 180, 2**33, 2**40)
ODD = [0, 1, -1, 2, 80, 81, 162, 2**31 - 1, -(2**31), 2**40, -(2**63), 2**63 - 1]
SIZES = replace(dumps.SMALL, rows=3)


def numbers(count: int, odd: tuple[int, ...] = tuple(ODD)) -> st.SearchStrategy[list[int]]:
    value = st.integers(-5, 300) | st.sampled_from(odd)
    return st.lists(value, min_size=count, max_size=count)


@st.composite
def ragged(draw, rows: int) -> Ragged:
    lengths = draw(st.lists(st.integers(0, 14), min_size=rows, max_size=rows))
    values = np.array(draw(numbers(sum(lengths))), dtype=np.int64)
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def arrays(rows: int, width: int | None) -> st.SearchStrategy[np.ndarray]:
    shape = (rows, width) if width else (rows,)
    return numbers(rows * (width or 1)).map(lambda each: np.array(each, np.int64).reshape(shape))


@st.composite
def hostile(draw) -> Dump:
    rows = draw(st.integers(0, 4))
    base = dumps.make_dump(SIZES, draw(st.sampled_from(list(dumps.TABLE_KINDS))))
    count = draw(st.integers(0, 6))
    tables = Tables(
        page_table=draw(ragged(rows)),
        cache_seqlens=np.array(draw(numbers(rows, LONG)), dtype=np.int64),
        req_pool_indices=draw(st.none() | arrays(rows, None)),
        req_to_token=draw(st.none() | ragged(rows)),
        req_to_token_exceptions=draw(st.none() | arrays(0, 3)),
        mapping=draw(st.none() | arrays(count, 2)),
        mapping_exceptions=draw(st.none() | arrays(count, 2)),
    )
    tensors = dict(base.launch.tensors)
    if draw(st.booleans()):
        extents = st.integers(0, 20).map(lambda width: (rows, width))
        tensors["block_tables"] = replace(
            tensors["block_tables"],
            dtype=draw(st.sampled_from(["int32", "int64", "uint8", ""])),
            shape=draw(extents | st.sampled_from([(0, 0), (2**31, 2**31), (2**40, 1)])),
            stride=draw(st.sampled_from([(0, 0), (7, 1), (-3, 2), (2**40, 1)])),
        )
    launch = replace(
        base.launch,
        page_size=draw(st.sampled_from([1, 3, 16, 64, 65536])),
        num_pages=draw(st.sampled_from([0, 1, 81, 2**40])),
        window_left=draw(st.sampled_from([-1, 0, 39, 2**32])),
        q_len_per_req=draw(st.sampled_from([0, 1, 4, 2**20])),
        num_kv_heads=draw(st.sampled_from([1, 3])),
        max_seq_len=draw(st.sampled_from([0, 180, 2**40])),
        separate_kv=draw(st.booleans()),
        tensors=tensors,
        cum_seq_lens_q=draw(st.none() | arrays(draw(st.sampled_from([rows + 1, 0, 7])), None)),
    )
    backend = replace(base.backend, batch_size=draw(st.sampled_from([0, 2, 2**20])))
    return replace(base, tables=tables, launch=launch, backend=backend)


ANY_SPEED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@given(dump=hostile())
@settings(max_examples=20, **ANY_SPEED)
def test_every_reader_answers_or_refuses(dump):
    answers_or_refuses(dump)


@pytest.mark.slow
@given(dump=hostile())
@settings(max_examples=200, **ANY_SPEED)
def test_every_reader_answers_or_refuses_at_length(dump):
    answers_or_refuses(dump)


def answers_or_refuses(dump):
    try:
        dump = decode(encode(dump))
    except TriageError:
        return
    readers = [
        summarise,
        lambda each: brief(each, "a.msgpack"),
        lambda each: html(contents(together([Input("a.msgpack", "a dump", each)]))),
        explain,
        deduce,
        *(lambda each, fix=fix: deduce(each, fix) for fix in FIXES),
        run_eager,
        minimise,
        lambda each: [resolve(call_of(each, version)) for version in known_versions()[:1]],
        *(lambda each, kind=kind: export(each, kind) for kind in FORMATS),
    ]
    for read in readers:
        try:
            read(dump)
        except TriageError as refusal:
            assert str(refusal)
