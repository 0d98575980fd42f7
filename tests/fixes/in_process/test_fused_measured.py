"""`auto` takes what was measured faster here, and nothing that was measured slower."""

from __future__ import annotations

import importlib.metadata

import pytest
import torch

from triage.errors import InstallError
from triage.sglang.fixes import fused_measured
from triage.sglang.fixes.fused import OPS, FusedLayers
from triage.sglang.fixes.fused_measured import Measured, overlap_taken, taken

FASTER, SLOWER, NOISE = (-8.0, -8.5, -7.5), (2.0, 1.5, 2.5), (0.4, -0.5, 0.9)


def measured(*loads, ops=("moe-tail", "routing"), gpu="NVIDIA H200", sglang="0.5.14"):
    named = {f"load {number}": change for number, change in enumerate(loads)}
    return Measured(gpu, sglang, "26B-A4B", frozenset(ops), named, "a record")


def test_a_set_that_was_faster_and_nowhere_slower_is_taken_on_that_gpu_and_release():
    table = [measured(FASTER, NOISE)]
    assert taken(table, "0.5.14", "NVIDIA H200") == {"moe-tail", "routing"}
    assert taken(table, "0.5.14", "NVIDIA B200") == taken(table, "0.5.18", "NVIDIA H200") == set()


def test_what_was_slower_in_any_set_is_not_taken():
    table = [measured(FASTER), measured(SLOWER, FASTER, ops=("routing",))]
    assert taken(table, "0.5.14", "NVIDIA H200") == {"moe-tail"}


def test_what_differs_by_no_more_than_the_turns_do_is_not_taken():
    assert taken([measured(NOISE)], "0.5.14", "NVIDIA H200") == set()
    assert taken([], "0.5.14", "NVIDIA H200") == set()


def test_what_two_servers_alike_may_be_apart_by_is_not_taken():
    # GIVEN a server that is steadily 3 % quicker, as another one without us was
    assert taken([measured((-3.2, -3.5, -2.6))], "0.5.14", "NVIDIA H200") == set()
    # AND what is slower by as little keeps an op out
    table = [measured(FASTER), measured((3.2, 2.6, 3.5), ops=("routing",))]
    assert taken(table, "0.5.14", "NVIDIA H200") == {"moe-tail"}


def test_the_table_that_is_shipped_is_read_and_names_ops_there_are():
    for one in fused_measured.table():
        assert one.ops <= {*OPS, "pdl"} and one.loads and one.where


def test_launches_overlap_only_where_the_same_ops_were_slower_without():
    ops = ("moe-tail", "routing")
    plain, far = measured(FASTER, NOISE), (-15.0, -15.5, -14.5)

    def overlaps(*loads, beside=(plain,)):
        table = [*beside, measured(*loads, ops=(*ops, "pdl"))]
        # WHEN THEN a set with pdl says nothing of its ops
        assert taken(table, "0.5.14", "NVIDIA H200") == taken(beside, "0.5.14", "NVIDIA H200")
        return overlap_taken(table, "0.5.14", "NVIDIA H200")

    assert overlaps(far, NOISE)
    assert not overlaps(FASTER, NOISE), "as without"
    assert not overlaps(far, SLOWER), "slower in a load"
    assert not overlaps(far, NOISE, beside=()), "not measured without"
    assert not overlap_taken([plain], "0.5.14", "NVIDIA H200")


def test_how_ops_are_launched_is_no_op():
    with pytest.raises(InstallError, match="name an op too"):
        FusedLayers(("pdl",))
    assert FusedLayers(("moe-tail", "pdl")).ops == {"moe-tail"}


@pytest.mark.parametrize("names", [("moe-tail",), ("moe-tail", "pdl")])
def test_launches_overlap_from_the_first_model_on_where_asked_for(names, caplog):
    from triage_kernels.core import dependent

    caplog.set_level("INFO", "triage")
    model = torch.nn.Module()
    model.layers, model.start_layer, model.end_layer = [], 0, 0
    FusedLayers(names).around_model(lambda model: None, model)
    # THEN it is asked for, and the log says why a CPU has none
    assert dependent.switched_on() == ("pdl" in names)
    assert ("(pdl): not here: kernels are interpreted" in caplog.text) == ("pdl" in names)
    dependent.switch_dependent_launches(False)


def test_auto_is_settled_when_the_first_model_is_made(monkeypatch):
    """The launcher has no GPU to ask: asking would give it a CUDA context of its own."""
    release = importlib.metadata.version("sglang")
    table = [measured(FASTER, sglang=release), measured(FASTER, ops=("ple-tail",), gpu="B200",
             sglang=release)]  # fmt: skip
    monkeypatch.setattr(fused_measured, "table", lambda: table)
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(1) or True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    fused = FusedLayers(("auto", "dense-tail"))
    assert not asked and fused.ops == {"moe-tail", "routing", "ple-tail", "dense-tail"}
    model = torch.nn.Module()
    model.layers, model.start_layer, model.end_layer = [], 0, 0
    fused.around_model(lambda model: None, model)
    assert fused.ops == {"moe-tail", "routing", "dense-tail"}


@pytest.mark.parametrize("names", [("auto",)])
def test_nothing_measured_is_nothing_hooked(names, monkeypatch):
    monkeypatch.setattr(fused_measured, "table", list)
    assert FusedLayers(names).hooks() == []
