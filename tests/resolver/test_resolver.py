"""The resolver reproduces kernel names and missing-kernel keys that others have published.

Long because it is a list of what others have published, each with its source.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.resolver.flashinfer_pins import pin_of
from triage.cli import main
from triage.commands.resolve import resolve as resolve_command
from triage.dump.file import write_dump
from triage.errors import ReplayError
from triage.resolver import call_of, extract, known_versions, pins, recorded_version, resolve
from triage.resolver.defects import DEFECTS, defects_of
from triage.resolver.pins import PINS, SHIPPED, Installed, choose, parse_version
from triage.resolver.select import Call
from triage.resolver.table import DATA

DECODE = Call(
    version=(0, 6, 12),
    arch="100",
    sm_count=148,
    q_type="BF16",
    kv_type="BF16",
    out_type="BF16",
    num_q_heads=32,
    num_kv_heads=16,
    head_dim=256,
    page_size=64,
    batch_size=8,
    max_q_len=1,
    max_kv_len=9216,
    window_left=1023,
)
PREFILL = replace(DECODE, context=True, max_q_len=500)
GEMMA_GLOBAL = replace(DECODE, version=(0, 6, 11), num_kv_heads=4, head_dim=512, window_left=-1)
SLIDING = "PagedKvSlidingOrChunkedCausalP64VarSeq"


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (DECODE, ["Sm100fKernel_QkvBfloat16OBfloat16H256" + SLIDING + "Q8Kv128Persistent"
                  "SwapsAbForGen"]),
        (replace(DECODE, head_dim=64, window_left=127),
         ["Sm100fKernel_QkvBfloat16OBfloat16H64" + SLIDING + "Q8Kv128PersistentSwapsAbForGen"]),
        (replace(DECODE, batch_size=2, window_left=-1),
         ["Sm100fKernel_QkvBfloat16OBfloat16H256PagedKvCausalP64MultiCtasKvCgaVarSeqQ8Kv128Static"
          "SwapsAbForGen",
          "Sm100fKernel_QkvBfloat16OBfloat16H256PagedKvCausalP64MultiCtasKvVarSeqQ8Kv128Static"
          "SwapsAbForGen"]),
        (PREFILL, ["Sm100fKernel_QkvBfloat16OBfloat16H256" + SLIDING + "Q128Kv128Persistent"
                   "Context"]),
        (replace(PREFILL, arch="103"),
         ["Sm103aKernel_QkvBfloat16OBfloat16H256" + SLIDING + "Q128Kv128PersistentContext"]),
    ],
    ids=["decode, window", "D 64", "two splits of opinion", "prefill", "prefill on sm_103"],
)  # fmt: skip
def test_known_selections(call, names):
    assert [kernel.name for kernel in resolve(call).candidates] == [f"fmha{each}" for each in names]


def test_a_short_sequence_runs_a_sliding_kernel_because_the_host_argument_decides():
    assert "Sliding" in resolve(DECODE).candidates[0].name
    assert "Sliding" not in resolve(replace(DECODE, max_kv_len=1024)).candidates[0].name


@pytest.mark.parametrize("q_len", [5, 6, 7, 8])
def test_issue_3343_head_dim_512_has_no_kernel_for_five_to_eight_tokens(q_len):
    call = replace(GEMMA_GLOBAL, max_q_len=q_len)

    found = resolve(call)

    assert found.candidates == ()
    assert found.missing == (
        "qkvLayout=2, maskType=1, kernelType=3, tileScheduler=0, multiCtasKvMode=1, "
        "headDimPerCtaV=512, headDimQk=512, headDimV=512, tileSizeQ=64, tileSizeKv=128, "
        "numTokensPerPage=64"
    )
    assert any("3343" in defect.link for defect in defects_of(call, found))
    assert resolve(replace(call, version=(0, 6, 14))).candidates


def test_issue_3343_up_to_four_tokens_there_is_one():
    for q_len in (1, 2, 3, 4):
        assert resolve(replace(GEMMA_GLOBAL, max_q_len=q_len)).candidates


def test_issue_3511_head_dim_512_with_sixteen_draft_tokens():
    found = resolve(replace(GEMMA_GLOBAL, max_q_len=16))

    assert "tileSizeQ=128" in found.missing and "headDimPerCtaV=512" in found.missing


@pytest.mark.parametrize(
    ("change", "exposed"),
    [
        ({}, True),
        ({"max_q_len": 4}, False),
        ({"batch_size": 1}, False),
        ({"head_dim": 256}, False),
        ({"version": (0, 6, 18)}, False),
    ],
    ids=["as published", "four queries", "one row", "head_dim 256", "the release with the fix"],
)
def test_pull_4382_wrong_rows_of_a_verify_over_a_sound_table(change, exposed):
    # GIVEN Gemma-4 31B's global layers, verified with 5 drafts on FlashInfer 0.6.17
    published = {"version": (0, 6, 17), "max_q_len": 6, "batch_size": 4}
    call = replace(GEMMA_GLOBAL, **{**published, **change})
    # THEN the call is exposed under exactly the published conditions
    links = {defect.link for defect in defects_of(call, resolve(call))}
    assert any("4382" in link for link in links) is exposed


def test_issue_4094_one_head_a_group_on_pages_of_128():
    call = replace(
        DECODE, version=(0, 6, 15), num_q_heads=64, num_kv_heads=64, head_dim=128,
        page_size=128, window_left=-1,
    )  # fmt: skip

    found = resolve(call)

    assert found.missing == (
        "qkvLayout=2, maskType=1, kernelType=2, tileScheduler=0, multiCtasKvMode=1, "
        "headDimPerCtaV=128, headDimQk=128, headDimV=128, tileSizeQ=8, tileSizeKv=128, "
        "numTokensPerPage=128"
    )
    assert resolve(replace(call, version=(0, 6, 16))).candidates


def test_head_dim_512_prefill_with_a_window_does_not_exist():
    assert resolve(replace(PREFILL, head_dim=512)).missing


def test_bf16_queries_over_an_fp8_cache_have_no_windowed_prefill_but_a_decode():
    mixed = {"kv_type": "E4M3"}
    assert resolve(replace(PREFILL, **mixed)).missing
    assert resolve(replace(DECODE, **mixed)).candidates


@pytest.mark.parametrize("version", known_versions())
@pytest.mark.parametrize("page_size", [16, 32, 64, 128])
@pytest.mark.parametrize("batch_size", [1, 4, 64, 512])
def test_every_ordinary_decode_call_resolves(version, page_size, batch_size):
    for q_len in (1, 4):
        call = replace(
            DECODE, version=version, page_size=page_size, batch_size=batch_size, max_q_len=q_len
        )
        found = resolve(call)
        if page_size == 128 and version < (0, 6, 12):
            assert found.missing
            continue
        assert 1 <= len(found.candidates) <= 2
        for kernel in found.candidates:
            assert kernel.head_dim == 256 and "Sliding" in kernel.name


def test_every_defect_applies_to_some_call_and_not_to_a_plain_one():
    calls = [
        replace(DECODE, kv_type="E4M3", max_q_len=8),
        replace(DECODE, page_size=256),
        replace(DECODE, batch_size=2, head_dim=512, window_left=-1),
        replace(GEMMA_GLOBAL, max_q_len=6),
        replace(DECODE, version=(0, 6, 12), num_q_heads=8, num_kv_heads=8, page_size=128),
        replace(DECODE, batch_size=1, window_left=-1),
        replace(GEMMA_GLOBAL, version=(0, 6, 17), max_q_len=6, batch_size=2),
    ]
    seen = {defect.link for call in calls for defect in defects_of(call, resolve(call))}

    assert seen == {defect.link for defect in DEFECTS}
    assert defects_of(DECODE, resolve(DECODE)) == ()


def recorded(version: str, **provenance):
    dump = dumps.make_dump(replace(dumps.E4B, head_dim=256))
    versions = {"flashinfer-python": version}
    return replace(dump, provenance={"versions": versions, **provenance})


def test_the_recorded_call_is_taken_from_the_dump():
    dump = recorded("0.6.12", arch="sm_103", sm_count=152)

    call = call_of(dump, recorded_version(dump))

    assert (call.arch, call.sm_count, call.version) == ("103", 152, (0, 6, 12))
    assert (call.batch_size, call.max_kv_len, call.window_left) == (64, 9216, 511)
    assert "Sliding" in resolve(call).candidates[0].name


def test_the_command_prints_the_name_or_all_known_releases(tmp_path):
    known = write_dump(recorded("0.6.11.post1"), tmp_path, name="known")
    unknown = write_dump(replace(recorded("x"), provenance={}), tmp_path, name="unknown")

    one = CliRunner().invoke(resolve_command, [str(known), "--json"])
    every = CliRunner().invoke(resolve_command, [str(unknown)])

    assert [each["flashinfer"] for each in json.loads(one.output)["rows"]] == ["0.6.11"]
    assert "SlidingOrChunkedCausalP64" in json.loads(one.output)["rows"][0]["kernels"][0]
    assert every.output.startswith("FlashInfer 0.6.11")
    assert "to 0.6.17, sm_100, 148 SMs" in every.output
    assert "FlashInfer 0.6.18 to 0.7.2, sm_100, 148 SMs" in every.output
    assert every.output.count("answered from kernel set 158f6fa1") == 1


def test_the_models_own_heads_may_be_named_for_a_lab_dump(tmp_path):
    tiny = write_dump(replace(dumps.make_dump(), provenance={}), tmp_path, name="tiny")
    own = ["--heads", "8", "2", "--head-dim", "256", "--flashinfer", "0.6.12"]

    without = CliRunner().invoke(resolve_command, [str(tiny), "--flashinfer", "0.6.12"])
    ran = CliRunner().invoke(resolve_command, [str(tiny), *own])

    assert "no kernel exists for this call" in without.output
    assert without.output.endswith("name the model's own with --heads and --head-dim\n")
    assert "name the model's own" not in ran.output
    assert "H256PagedKvSlidingOrChunkedCausalP64" in ran.output


@pytest.mark.parametrize("text", ["", "0.6", "newest", "0.x.1"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(ReplayError, match="is no FlashInfer version"):
        parse_version(text)


def test_each_release_pins_the_set_that_its_wheel_names():
    recorded = json.loads(Path(__file__).with_name("flashinfer_pins.json").read_text())

    assert {parse_version(version): pin for version, pin in recorded.items()} == PINS
    assert {f"fmha_{kernel_set}.tsv.xz" for kernel_set in SHIPPED} == {
        path.name for path in DATA.glob("*.xz")
    }


@pytest.mark.parametrize("version", [(0, 6, 11), (0, 6, 12), (0, 6, 17)])
def test_a_release_whose_table_is_here_needs_no_remark(version):
    assert choose(version).exact and choose(version).sentence == ""


@pytest.mark.parametrize("version", [(0, 6, 18), (0, 7, 2)])
def test_a_release_whose_table_is_in_no_package_is_answered_from_another_and_says_so(
    version, tmp_path
):
    chosen = choose(version)
    text = ".".join(map(str, version))
    path = write_dump(recorded(text), tmp_path)

    ran = CliRunner().invoke(resolve_command, [str(path)])
    told = json.loads(CliRunner().invoke(resolve_command, [str(path), "--json"]).output)["rows"][0]

    assert (chosen.pinned, chosen.used, chosen.exact) == ("2d6a5a02", "158f6fa1", False)
    assert "answered from kernel set 158f6fa1 (FlashInfer 0.6.12 to 0.6.17)" in ran.output
    assert "pins set 2d6a5a02, whose table is in no package" in ran.output
    assert told["kernel_set"] == {"pinned": "2d6a5a02", "used": "158f6fa1", "exact": False}
    assert told["kernels"] == [
        each.name for each in resolve(replace(call_of(recorded(text), version))).candidates
    ]


def test_nothing_is_said_not_to_exist_on_the_word_of_another_releases_table(tmp_path):
    dump = recorded("0.7.2")
    launch = replace(dump.launch, api="trtllm_batch_context_with_kv_cache", head_dim=512)
    path = write_dump(replace(dump, launch=launch), tmp_path)

    later = CliRunner().invoke(resolve_command, [str(path)])
    shipped = CliRunner().invoke(resolve_command, [str(path), "--flashinfer", "0.6.17"])

    assert "no kernel is listed for this call" in later.output
    assert "no kernel exists for this call" in shipped.output


def test_later_mixed_types_are_refused_because_they_run_kernels_no_table_lists():
    with pytest.raises(ReplayError, match="BF16 queries over an E4M3 cache run kernels of their"):
        resolve(replace(DECODE, version=(0, 7, 2), kv_type="E4M3"))


def test_an_installed_release_says_which_set_it_pins(tmp_path, monkeypatch):
    # GIVEN a FlashInfer that no list names, pinning a set that is here and one that is not
    path = write_dump(recorded("0.9.1"), tmp_path)
    for pin, remark in ((PINS[0, 6, 17], "its table is here"), ("f" * 40, "no table of it")):
        monkeypatch.setattr(pins, "installed", lambda pin=pin: Installed("0.9.1", pin))

        ran = CliRunner().invoke(resolve_command, [str(path)])

        # THEN it is answered, exactly where its set is shipped
        assert f"0.9.1 is installed and pins kernel set {pin[:8]}: {remark}" in ran.output
        assert ("answered from kernel set" in ran.output) == (remark != "its table is here")


def test_a_release_that_is_neither_listed_nor_installed_is_refused(monkeypatch):
    monkeypatch.setattr(pins, "installed", lambda: None)
    with pytest.raises(ReplayError, match=r"0\.9\.1 is not known here.*for 0\.6\.11 to 0\.7\.2"):
        choose((0, 9, 1))


def test_the_installed_pin_is_read_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "flashinfer"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "artifacts.py").write_text(
        f'class ArtifactPath:\n    TRTLLM_GEN_FMHA: str = "{"a" * 40}/fmha/trtllm-gen/"\n'
    )
    meta = tmp_path / "flashinfer_python-0.7.9.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: flashinfer-python\nVersion: 0.7.9\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert pins.installed() == ("0.7.9", "a" * 40)
    (package / "artifacts.py").write_text("nothing")
    assert pins.installed() is None


STRUCT = """
struct TllmGenFmhaKernelMetaInfo {
  Data_type mDataTypeQ; Data_type mDataTypeK; Data_type mDataTypeV; Data_type mDataTypeO;
  int mTileSizeQ; int mTileSizeKv; int mStepQ; int mStepKv; int mHeadDimPerCtaV;
  int mHeadDimQk; int mHeadDimV; int mSM; const char* mFuncName; int mSharedMemBytes;
  int mQkvLayout; int mNumTokensPerPage; int mMaskType; int mKernelType; int mTileScheduler;
  int mMultiCtasKvMode; int mNumEltsPerSageAttnBlkQ; bool mGroupsHeadsQ;
  bool mGroupsTokensHeadsQ; bool mReuseSmemKForV; bool m2CtaMma; int mSparseAttn;
  bool mSkipsSoftmaxWhenPossible; bool mFp16Softmax;
};
"""


def row(
    name: str, *, splits: str = "0, 1", fp16_softmax: str = "false", grouped: str = "true"
) -> str:
    types = ", ".join(["DATA_TYPE_BF16"] * 4)
    return (
        f"{{ {types}, 8, 128, 8, 256, 256, 256, 256, kSM_100f,\n"
        f'  "{name}", 100000, 2, 64, 2, 2, {splits}, 0, true, {grouped}, false, false, 0, false, '
        f"{fp16_softmax}}},\n"
    )


def test_a_releases_own_header_names_its_kernels(tmp_path):
    # GIVEN a later header: more fields, rows over several lines, variants nobody asked for
    header = tmp_path / "flashInferMetaInfo.h"
    header.write_text(
        STRUCT
        + row("split")
        + row("cluster", splits="0, 3")
        + row("half", fp16_softmax="true")
        + row("other", grouped="false")
    )
    dump = recorded("0.7.2")
    tensors = {
        name: replace(facts, dtype="bfloat16" if name != "block_tables" else facts.dtype)
        for name, facts in dump.launch.tensors.items()
    }
    path = write_dump(replace(dump, launch=replace(dump.launch, tensors=tensors)), tmp_path)

    ran = CliRunner().invoke(resolve_command, [str(path), "--table", str(header)])

    assert "  cluster\n  split\n" in ran.output and f"these names are of {header}" in ran.output
    assert "answered from kernel set" not in ran.output


HEADER = """
struct TllmGenFmhaKernelMetaInfo
{
    Data_type mDataTypeQ;
    Data_type mDataTypeKv;
    int mHeadDimQk;
};
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no TllmGenFmhaKernelMetaInfo"),
        (HEADER, "lists no kernel"),
        (HEADER + '{ DATA_TYPE_BF16, DATA_TYPE_BF16, 64, "extra"},\n', "4 fields and its struct 3"),
        (HEADER + "{ DATA_TYPE_BF16, DATA_TYPE_BF16, 64},\n", "rows do not say mFuncName"),
        (STRUCT + row("later").replace("100000", "many"), "no whole kernel table"),
    ],
    ids=["empty", "no rows", "another row", "another struct", "no number"],
)
def test_a_file_that_is_no_kernel_table_is_one_sentence(tmp_path, text, reason):
    (tmp_path / "table.h").write_text(text)
    with pytest.raises(ReplayError, match=reason):
        extract.read_kernels(tmp_path / "table.h")


def test_a_table_is_one_releases(tmp_path):
    path = write_dump(replace(recorded("x"), provenance={}), tmp_path)

    ran = CliRunner().invoke(main, ["kernels", "resolve", str(path), "--table", "t.h"])

    assert ran.exit_code == 2 and "name it with --flashinfer" in ran.output


@pytest.mark.skipif(
    "TRIAGE_FLASHINFER_CUBINS" not in os.environ,
    reason="TRIAGE_FLASHINFER_CUBINS names no folder of flashinfer-cubin wheels",
)
def test_the_shipped_tables_are_those_of_the_wheels(tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "DATA", tmp_path)
    for wheel in Path(os.environ["TRIAGE_FLASHINFER_CUBINS"]).glob("flashinfer_cubin-*.whl"):
        made = extract.main(wheel)
        assert made.read_bytes() == (DATA / made.name).read_bytes()


@pytest.mark.skipif(
    "TRIAGE_FLASHINFER_WHEELS" not in os.environ,
    reason="TRIAGE_FLASHINFER_WHEELS names no folder of flashinfer-python wheels",
)
def test_the_recorded_pins_are_those_of_the_wheels():
    recorded = json.loads(Path(__file__).with_name("flashinfer_pins.json").read_text())
    for wheel in Path(os.environ["TRIAGE_FLASHINFER_WHEELS"]).glob("flashinfer_python-*.whl"):
        assert recorded[wheel.name.split("-")[1]] == pin_of(wheel)
