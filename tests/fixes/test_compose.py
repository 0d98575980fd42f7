"""All fixes, the switch and the fused ops together, bound by SGLang's own loader."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.lab import versions
from triage.sglang.fixes.fused import OPS

CHILD = """
import json
from triage.lab import bootstrap
version = bootstrap.prepare()
from triage.lab.flashinfer_stub import StandInFlashInfer
StandInFlashInfer(lambda call: None).install()
from sglang.srt.plugins import load_plugins
load_plugins()
from triage.sglang.install import state
made = state()
made.remove()
print(json.dumps({
    "sglang": version,
    "active": made.active,
    "bound": [b.target for b in made.bindings if b.bound],
    "fixes": list(made.fixes),
    "skipped": list(made.skipped),
    "ops": sorted(made.fused.ops) if made.fused else [],
    "armed": [fix.armed for fix in made.fixes.values()],
}))
"""

AUTO = {
    "0.5.12.post1": {
        "draft-own-pool",
        "free-swa-pages",
        "keep-locked-prefix",
        "optional-kv",
        "packed-query",
    },
    "0.5.13.post1": {"free-swa-pages", "keep-locked-prefix", "packed-query"},
    "0.5.14": {"keep-locked-prefix", "packed-query", "slotless-draft"},
    "0.5.18": set(),
    "0.5.23": set(),
}


def spawn(version, **asked):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    return prepared.python(
        "-c", CHILD, version=version, env={"SGLANG_PLUGINS": "sglang_triage", **asked}
    )


# The oldest and the newest beside the installed one; `make test-all` asks all.
QUICK = {"0.5.12.post1", "0.5.18", "0.5.23"}


@pytest.mark.parametrize(
    "version",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in AUTO],
)
def test_auto_binds_exactly_the_correctness_fixes_that_are_needed(version):
    done = spawn(
        version,
        SGLANG_TRIAGE_FIXES="auto",
        SGLANG_TRIAGE_FUSED=",".join(("auto", *OPS)),
        SGLANG_TRTLLM_MHA_DEBUG="0",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["sglang"] == version
    assert set(report["fixes"]) == AUTO[version]
    assert set(report["fixes"]) | set(report["skipped"]) == {
        "state-swap",
        "draft-own-pool",
        "free-swa-pages",
        "keep-locked-prefix",
        "optional-kv",
        "packed-query",
        "slotless-draft",
    }
    assert report["active"]
    assert not any(report["armed"])  # disarmed again by remove()
    assert set(report["ops"]) == set(OPS)


def test_everything_that_applies_composes_with_the_switch():
    done = spawn(
        "0.5.12.post1",
        SGLANG_TRIAGE_FIXES="auto,swa-ratio",
        SGLANG_TRIAGE_FUSED="ple-tail,routing",
        SGLANG_ENABLE_PIECEWISE_CUDA_GRAPH_FOR_MM="1",
        SGLANG_TRTLLM_MHA_DEBUG="1",
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["active"], done.stderr[-2000:]
    wanted = AUTO["0.5.12.post1"] | {"swa-ratio", "mm-piecewise-graphs"}
    assert set(report["fixes"]) == wanted
    for target in ("free_swa", "HybridSWAPoolConfigurator.__init__", "Gemma4DecoderLayer.forward"):
        assert any(bound.endswith(target) for bound in report["bound"]), report["bound"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"SGLANG_TRIAGE_FIXES": "clamp"}, "no fix 'clamp'; SGLANG_TRIAGE_FIXES"),
        (
            {"SGLANG_TRIAGE_FUSED": "warp"},
            "no fused op 'warp'; SGLANG_TRIAGE_FUSED accepts: post-attn-triple",
        ),
        ({"SGLANG_ENABLE_PIECEWISE_CUDA_GRAPH_FOR_MM": "1"}, "does not apply here"),
    ],
    ids=["unknown fix", "unknown op", "a switch this release has no use for"],
)
def test_what_cannot_be_had_stops_the_server_and_says_why(asked, said):
    done = spawn("0.5.23", **{"SGLANG_TRTLLM_MHA_DEBUG": "0", **asked})
    assert done.returncode == 1
    assert said in done.stderr
