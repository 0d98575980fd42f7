"""The report page as a file: whole, bounded, and nothing in it but what we put there."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.importers import texts
from tests.report.inputs import history, large
from triage.cli import main
from triage.dump.file import write_dump
from triage.dump.sections import Dump
from triage.explain.case import LaunchCase
from triage.explain.together import Input, together
from triage.report.contents import contents
from triage.report.map_encoding import LEFT_OUT, encoded
from triage.report.page import html
from triage.report.table_map import TableMap

EVIL = "</script><img src=x onerror=alert(1)>\u202e\x1b[31m{{ 7*7 }}"
LIMIT = 2_000_000


def page_of(*given: Dump, path: str = "a.msgpack") -> str:
    inputs = [Input(f"{at}{path}", "a dump", dump) for at, dump in enumerate(given)]
    return html(contents(together(inputs))).decode()


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing_and_runs_nothing_but_its_own_script():
    elements = Elements(page_of(dumps.make_dump(dumps.SMALL))).found
    loaded = [(tag, a) for tag, a in elements if {"src", "srcset", "data", "poster"} & a.keys()]
    assert loaded == [] and not [tag for tag, _ in elements if tag in ("link", "iframe", "base")]
    assert [a.get("type") for tag, a in elements if tag == "script"] == ["application/json", None]
    policy = next(a["content"] for _, a in elements if a.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    assert not [name for _, a in elements for name in a if name.startswith("on") or name == "style"]


def test_what_a_stranger_wrote_is_text():
    # GIVEN a dump whose every text is an attack
    dump = dumps.make_dump(dumps.SMALL)
    evil = replace(
        dump,
        fault=replace(dump.fault, where=EVIL, pool=EVIL, invariant=EVIL, facts={EVIL: EVIL}),
        launch=replace(dump.launch, api=EVIL, arguments={EVIL: EVIL}),
        backend=replace(dump.backend, role=EVIL, swa_state={EVIL: EVIL}, pool_class=EVIL),
        provenance={EVIL: [EVIL]},
        history=({"sequence": 1, "role": EVIL, "space": EVIL, "forward_mode": EVIL},),
    )
    # WHEN its page is made
    page = page_of(evil, path=EVIL)
    # THEN it has the elements of any other page, and no character that turns or hides text
    assert [tag for tag, _ in Elements(page).found].count("img") == 0
    assert page.count("</script>") == 2
    assert "\u202e" not in page and "\x1b" not in page and "\\u202e" in page
    assert "{{ 7*7 }}" in page, "a template is not filled in twice"


def test_it_stays_below_two_megabytes_whatever_it_is_given():
    # GIVEN more dumps than are shown, half a million random entries in all, each with a full
    # history and much text
    rng = np.random.default_rng(7)
    dump = large(rows=32)
    assert dump.tables is not None
    table = dump.tables.page_table
    noise = rng.integers(-(2**31), 2**31, len(table.values)).astype(np.int32)
    dump = replace(
        dump,
        tables=replace(dump.tables, page_table=replace(table, values=noise)),
        history=history(1024),
        provenance={f"{n}": "x" * 10_000 for n in range(200)},
    )
    page = page_of(*[dump] * 9)
    assert len(page) < LIMIT
    assert "9 dumps were given; the first 8 are shown" in page
    assert "are left out to keep this page small" in page


def test_a_large_table_is_told_whole_where_it_fits():
    dump = large(rows=256)
    page = page_of(dump)
    assert "256 rows, columns 0 to 2047" in page
    assert len(page) < LIMIT and "are left out to keep" not in page


def test_the_map_unpacks_to_the_table():
    table = TableMap.of(LaunchCase.of(dumps.make_dump()))  # type: ignore[arg-type]
    held = encoded(table, 1 << 20)
    assert np.array_equal(bytes_of(held["states"]).reshape(table.states.shape), table.states)
    ids = ids_of(held)
    assert np.array_equal(ids.reshape(table.ids.shape), table.ids)
    assert np.array_equal(
        (ids ^ ints_of(held["expected"])).reshape(ids.shape), table.expected.ravel()
    )
    assert held["left_out"] == 0


def test_where_room_is_short_wrong_entries_are_kept_first():
    table = TableMap.of(LaunchCase.of(dumps.make_dump()))  # type: ignore[arg-type]
    whole = encoded(table, 1 << 20)
    few = encoded(table, sum(map(len, map(str, whole.values()))) * 2 // 5)
    ids = ids_of(few).reshape(table.ids.shape)
    kept = ids != LEFT_OUT
    assert 0 < kept.sum() == ids.size - few["left_out"]
    assert np.array_equal(ids[kept], table.ids[kept]) and table.bad[kept].all()
    assert encoded(table, 10)["states"] == "", "too large to be drawn at all"


def ids_of(held: dict) -> np.ndarray:
    if held["ids"].startswith("+"):
        return np.cumsum(ints_of(held["ids"][1:]), dtype=np.int32)
    return ints_of(held["ids"])


def bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)


def ints_of(text: str) -> np.ndarray:
    return np.ascontiguousarray(bytes_of(text).reshape(4, -1).T).view("<i4").ravel()


# -- the command ---------------------------------------------------------------------------------


def report(*arguments: object) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["report", *map(str, arguments)])
    return ran.exit_code, ran.output


@pytest.fixture
def dump(tmp_path) -> Path:
    return write_dump(dumps.make_dump(dumps.SMALL), tmp_path, name="small.msgpack")


def test_a_page_names_cause_and_command(dump, tmp_path):
    code, output = report(dump, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert (code, output) == (0, f"wrote {tmp_path / 'page.html'}; next: open it in a browser\n")
    assert "<h1>SWA state not swapped with the pool</h1>" in page
    assert f"triage replay {dump} --fix state-swap" in page
    assert "a live page-table entry is outside the pool that is read (I1)" in page
    assert "not recorded" in page


def test_a_log_without_a_dump_has_a_page_too(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(texts.SANITIZER)
    assert report(log, "-o", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert "<h1>cause unknown</h1>" in page and "What other tools reported" in page


def test_a_fault_without_a_launch_shows_what_the_trap_recorded(tmp_path):
    bare = replace(dumps.make_dump(dumps.SMALL), launch=None, tables=None, pools=None, backend=None)
    facts = replace(bare.fault, facts={"who": "request 4"})
    page = page_of(replace(bare, fault=facts))
    assert "request 4" in page and 'class="map"' not in page


def test_the_json_is_what_the_page_holds(dump):
    code, output = report(dump, "--json")
    found = json.loads(output)
    assert code == 0 and found["schema"] == "sglang-triage/report/1"
    (held,) = found["dumps"]
    assert held["explanation"]["named"] == ["stale-swa-state"]
    assert [each["fix"] for each in held["fixes"]] == ["", "state-swap", "clamp"]
    assert [each["outcome"] for each in held["fixes"]][:2] == ["REPRODUCED", "NOT_REPRODUCED"]
    assert all(entry["hand"] == "" for entry in held["entries"])


def test_a_map_without_a_wrong_entry_sends_nobody_to_one():
    sound = page_of(dumps.make_dump(dumps.SMALL, "right"))
    wrong = page_of(dumps.make_dump(dumps.SMALL))
    assert 'data-do="next" disabled>' in sound and 'data-do="next">' in wrong
    assert "The map needs JavaScript; the table above" in wrong
    assert "The map needs JavaScript; the table above" not in sound


def test_nothing_is_overwritten_and_something_must_be_asked_for(dump, tmp_path):
    (tmp_path / "there.html").write_text("mine")
    code, output = report(dump, "-o", tmp_path / "there.html")
    assert code == 2 and "give --force" in output
    assert (tmp_path / "there.html").read_text() == "mine"
    code, output = report(dump)
    assert code == 2 and "-o page.html" in output


def test_a_history_longer_than_is_drawn_keeps_the_first_wrong_launch():
    dump = replace(dumps.make_dump(dumps.SMALL), history=history(1000, wrong_at=300))
    (held,) = contents(together([Input("a", "a dump", dump)]))["dumps"]
    time = held["timeline"]
    assert time["total"] == 1000 and len(time["launches"]) == 600
    assert time["launches"][time["first_wrong"]]["fresh"] > 0
