"""Defects and observers as plugins of a server: found, bound below the product, switched."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests import prepared
from triage.errors import LabError
from triage.lab import versions
from triage.lab.server import defects, oracle
from triage.lab.server.defects import Switch, exchange, hand_out_far_first

CHILD = Path(__file__).with_name("plugin_child.py")


def loaded(folders: list[Path], control: Path, version: str = "0.5.14") -> dict[str, object]:
    """What SGLang's loader makes of `folders`, which stand first on the path."""
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    path = versions.environment(version)["PYTHONPATH"]
    env = {
        "PYTHONPATH": os.pathsep.join([*map(str, folders), path]),
        "SGLANG_TRTLLM_MHA_DEBUG": "1",
        "SGLANG_TRTLLM_MHA_DEBUG_MODE": "contain",
        "SGLANG_TRTLLM_MHA_DEBUG_DIR": str(control.parent / "dumps"),
        "SGLANG_PLUGINS": "",
    }
    done = prepared.python(CHILD, control, version=version, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_folder_on_the_path_is_a_plugin_before_the_product(tmp_path):
    # GIVEN a defect from the start, one that waits, and an observer
    control = tmp_path / "control"
    folders = [
        defects.plugin("stale-swa-state", tmp_path / "plugins"),
        defects.plugin("page-exchange", tmp_path / "plugins", control=control),
        oracle.plugin(tmp_path / "plugins", tmp_path / "oracle.jsonl"),
    ]
    # WHEN SGLang's own loader runs in a process of its own
    seen = loaded(folders, control)
    # THEN they come before the product, which is active above them
    assert seen["names"][-1] == "sglang_triage"
    assert set(seen["names"][:-1]) == {
        "aa_lab_stale_swa_state",
        "aa_lab_page_exchange",
        "aa_lab_oracle",
    }
    assert seen["triage"]
    # AND the defect is there for the fix's probe
    assert seen["probe"] == "NEEDED"
    # AND what observes binds with the first pool
    assert seen["bound"] == [False, True]
    assert seen["observers"] == ["_Exchange", "Oracle"]
    # AND the exchange begins with the control file, in a table that SGLang filled
    assert seen["newest"] == [[3, 8], [8, 3]]


def test_without_a_folder_the_release_has_no_defect(tmp_path):
    seen = loaded([oracle.plugin(tmp_path / "plugins", tmp_path / "o.jsonl")], tmp_path / "c")
    assert seen["probe"] == "ALREADY_FIXED"
    assert seen["newest"] == [[3, 8], [3, 8]]


def test_the_folder_says_what_it_calls(tmp_path):
    folder = defects.plugin("far-first", tmp_path, control=tmp_path / "control")
    found = importlib.metadata.distributions(path=[str(folder)])
    (point,) = [point for one in found for point in one.entry_points]
    assert point.group == "sglang.srt.plugins"
    text = (folder / "aa_lab_far_first.py").read_text()
    compile(text, "plugin", "exec")
    assert str(tmp_path / "control") in text


def test_an_unknown_defect_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(LabError, match="known: stale-swa-state, clamp"):
        defects.plugin("stale", tmp_path)
    for name in ("clamp", "stale-swa-state"):
        with pytest.raises(LabError, match="from the start"):
            defects.plugin(name, tmp_path, control=tmp_path / "control")


def test_a_switch_turns_on_once_and_stays(tmp_path):
    path = tmp_path / "control"
    switch = Switch(path)
    assert not switch.on
    path.touch()
    assert switch.on
    path.unlink()
    assert switch.on and Switch(None).on


@pytest.mark.parametrize("on", [False, True])
def test_two_rows_give_each_other_their_newest_page(on):
    table = torch.tensor([[1, 2, 3, 9], [4, 5, 6, 7], [8, 8, 8, 8]], dtype=torch.int32)
    before = table.clone()
    exchange(table, torch.tensor([33, 64, 16], dtype=torch.int32), 16, torch.tensor(on))
    if on:
        assert table[0].tolist() == [1, 2, 7, 9] and table[1].tolist() == [4, 5, 6, 3]
        assert torch.equal(table[2], before[2])
    else:
        assert torch.equal(table, before)


def test_one_row_has_nobody_to_exchange_with():
    table = torch.tensor([[1, 2]], dtype=torch.int32)
    exchange(table, torch.tensor([17]), 16, torch.tensor(True))
    assert table.tolist() == [[1, 2]]


def test_the_free_list_keeps_its_pages_and_begins_with_the_far_ones():
    full = SimpleNamespace(free_pages=torch.tensor([1, 2, 3, 4, 5, 6, 7]))
    hand_out_far_first(SimpleNamespace(full_attn_allocator=full), [(2, 4), (5, 6)])
    assert full.free_pages.tolist() == [5, 3, 2, 7, 6, 4, 1]
    hand_out_far_first(SimpleNamespace(full_attn_allocator=full), [])
    assert full.free_pages.tolist() == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(("role", "exchanged"), [("draft", True), ("target", False)])
def test_a_drafts_exchange_leaves_the_targets_tables_alone(monkeypatch, role, exchanged):
    # GIVEN a table of two rows, filled while `role` computes
    monkeypatch.setattr(defects, "moments", lambda: SimpleNamespace(role=role))
    spoiler = defects._Exchange(Switch(None), "draft")
    metadata = SimpleNamespace(swa_page_table=torch.tensor([[1, 2], [3, 4]]))
    fill = spoiler._fill(lambda backend, metadata, rows, lengths: None)
    backend, lengths = SimpleNamespace(page_size=16), torch.tensor([20, 32])
    fill(backend, metadata, torch.tensor([1, 2]), lengths)
    assert metadata.swa_page_table.tolist() == [[1, 2], [3, 4]]
    # WHEN the defect begins with a step
    spoiler.flag = torch.zeros((), dtype=torch.bool) if spoiler.flag is None else spoiler.flag
    spoiler.begin(SimpleNamespace(number=3))
    fill(backend, metadata, torch.tensor([1, 2]), lengths)
    # THEN the newest pages change places in a draft's table alone
    assert (metadata.swa_page_table.tolist() == [[1, 4], [3, 2]]) is exchanged


@pytest.mark.parametrize("fills", ["eager", "graph"])
@pytest.mark.parametrize(
    ("requests", "role", "exchanged"),
    [(2, "target", True), (1, "target", False), (2, "draft", False)],
)
def test_two_requests_that_decode_through_triton_give_each_other_their_newest_slot(
    monkeypatch, fills, requests, role, exchanged
):
    # GIVEN the window's slots of two rows, filled in a step of so many requests; a graph pads
    now = SimpleNamespace(role=role, step=SimpleNamespace(rows=[None] * requests))
    monkeypatch.setattr(defects, "moments", lambda: now)
    spoiler = defects._Exchange(Switch(None), "target")
    spoiler.flag = torch.zeros((), dtype=torch.bool)
    slots, offsets = torch.tensor([4, 5, 6, 7, 8, 0]), torch.tensor([0, 2, 5, 0, 0])
    backend = SimpleNamespace(
        forward_metadata=SimpleNamespace(window_kv_indices=slots, window_kv_indptr=offsets),
        cuda_graph_window_kv_indices=slots,
        window_kv_indptr=offsets,
    )
    mode = SimpleNamespace(is_decode=lambda: True)

    def fill() -> list[int]:
        if fills == "eager":
            spoiler._packed(lambda *_: None)(backend, SimpleNamespace(forward_mode=mode))
        else:
            spoiler._refilled(lambda *_: None)(backend, 2, None, None)
        return slots.tolist()

    assert fill() == [4, 5, 6, 7, 8, 0]
    # WHEN the defect begins with a step THEN two requests of a target alone are exchanged
    spoiler.begin(SimpleNamespace(number=3))
    assert fill() == ([4, 8, 6, 7, 5, 0] if exchanged else [4, 5, 6, 7, 8, 0])


def test_a_prompt_and_a_capture_through_triton_are_left_alone(monkeypatch):
    # GIVEN the exchange is on
    now = SimpleNamespace(role="target", step=SimpleNamespace(rows=[None, None]))
    monkeypatch.setattr(defects, "moments", lambda: now)
    spoiler = defects._Exchange(Switch(None), "target")
    spoiler.flag = torch.ones((), dtype=torch.bool)
    slots, offsets = torch.tensor([4, 5, 6, 7, 8]), torch.tensor([0, 2, 5])
    backend = SimpleNamespace(
        forward_metadata=SimpleNamespace(window_kv_indices=slots, window_kv_indptr=offsets),
        cuda_graph_window_kv_indices=slots,
        window_kv_indptr=offsets,
    )
    # WHEN SGLang packs the cached slots of a prompt, or captures, which is no step of anybody's
    extends = SimpleNamespace(is_decode=lambda: False)
    spoiler._packed(lambda *_: None)(backend, SimpleNamespace(forward_mode=extends))
    now.step = None
    spoiler._refilled(lambda *_: None)(backend, 2, None, None)
    assert slots.tolist() == [4, 5, 6, 7, 8]


def test_a_defect_of_one_rank_begins_on_that_rank_alone(tmp_path, monkeypatch):
    # GIVEN processes of rank 0 and 1, and one that does not know its rank yet
    control = tmp_path / "control"
    known: dict[str, int] = {}
    monkeypatch.setattr("triage.sglang.ranks.ranks", lambda scheduler: known)
    switch = defects.Switch(control, rank=1)
    control.touch()
    assert not switch.on
    known["tp"] = 0
    assert not switch.on
    # WHEN it is rank 1 that asks THEN it is on, and stays so
    known["tp"] = 1
    assert switch.on and defects.Switch(None, rank=1).on and defects.Switch(control).on
    known.clear()
    assert switch.on and not defects.Switch(None, rank=1).on
    # AND what is built into every rank cannot be had on one
    with pytest.raises(LabError, match="leave the rank out"):
        defects.plugin("clamp", tmp_path, rank=1)
