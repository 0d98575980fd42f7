"""`triage doctor --sglang WHAT`: a release that is not installed is read, nothing of it runs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.doctor.releases import wheel
from triage.doctor import release, skeleton
from triage.doctor.release import source_of
from triage.doctor.source_tree import MAX_SOURCE_BYTES, SourceTree
from triage.errors import LabError, UnsupportedSGLang

POOL = "sglang.srt.mem_cache.swa_memory_pool"


@pytest.fixture
def read(monkeypatch):
    """Puts a tree's skeletons in place of `sglang`, for one test."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    kept = {name: module for name, module in sys.modules.items() if _ours(name)}
    for name in kept:
        del sys.modules[name]

    def install(path: Path) -> None:
        skeleton.Skeletons(SourceTree(path)).install()

    yield install
    for name in [name for name in sys.modules if _ours(name)]:
        del sys.modules[name]
    sys.modules.update(kept)


def _ours(name: str) -> bool:
    return name.partition(".")[0] == "sglang"


def test_a_module_holds_what_its_source_says_and_nothing_of_it_has_run(read, tmp_path):
    # GIVEN a wheel whose modules end the process when they are imported
    read(wheel(tmp_path))
    # WHEN its names are asked for
    from sglang.srt.mem_cache import base, elsewhere
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    # THEN methods have their parameters, the unknown defaults opaque
    given = inspect.signature(SWAKVPool.set_kv_buffer).parameters
    assert list(given) == ["self", "layer", "loc", "cache_k", "cache_v", "scale", "swa_loc"]
    assert given["swa_loc"].kind is inspect.Parameter.KEYWORD_ONLY
    assert given["loc"].default is inspect.Parameter.empty
    # AND bases, aliases, re-exports and branches are followed
    assert issubclass(SWAKVPool, base.Base)
    assert SWAKVPool.translate_loc_from_full_to_swa is base.Base.translate_loc_from_full_to_swa
    assert SWAKVPool.renamed is SWAKVPool.set_kv_buffer
    assert isinstance(vars(SWAKVPool)["kept"], property)
    assert elsewhere.SWAKVPool is SWAKVPool and elsewhere.base is base
    assert callable(base.translate)
    # AND what is not there is not there
    assert not hasattr(base, "nowhere")
    with pytest.raises(ModuleNotFoundError):
        import sglang.srt.nowhere
    with pytest.raises(ImportError, match=r"broken\.py is not Python"):
        import sglang.srt.mem_cache.broken  # noqa: F401


@pytest.mark.parametrize(
    ("registry", "words"),
    [
        (None, "plugins are there from SGLang 0.5.12 on"),
        ("class HookRegistry:\n    def register(self): ...", "has no apply_hooks, HookType.AROUND"),
    ],
    ids=["no plugins", "another shape"],
)
def test_a_release_whose_plugins_we_do_not_know_is_refused_with_the_reason(
    read, tmp_path, registry, words
):
    with pytest.raises(UnsupportedSGLang, match=words):
        read(wheel(tmp_path, sglang__srt__plugins__hook_registry=registry))


def test_a_tree_is_a_wheel_a_folder_or_a_checkout_and_knows_its_version(tmp_path):
    archive = wheel(tmp_path)
    unpacked, checkout = tmp_path / "unpacked", tmp_path / "checkout"
    zipfile.ZipFile(archive).extractall(unpacked)
    zipfile.ZipFile(archive).extractall(checkout / "python")

    for path in (archive, unpacked, unpacked / "sglang", checkout):
        tree = SourceTree(path)
        assert tree.version == "0.6.0"
        assert tree.find("sglang.srt").is_package
        assert tree.find("sglang.srt.mem_cache").file == ""  # a folder without __init__.py
        assert "class SWAKVPool" in tree.source(tree.find(POOL))
        assert tree.find("sglang.nowhere") is None


def test_what_is_no_release_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.whl").write_text("no archive")
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("torch/__init__.py", "")
    for name in ("empty", "text.whl", "other.whl", "nothing.whl"):
        with pytest.raises(LabError, match=name):
            SourceTree(tmp_path / name)


def test_a_module_of_any_size_is_not_read_whole(tmp_path):
    bomb = wheel(tmp_path, sglang__big="#" * (MAX_SOURCE_BYTES + 1))
    tree = SourceTree(bomb)
    with pytest.raises(LabError, match=r"big\.py .* has more than"):
        tree.source(tree.find("sglang.big"))


# -- which release is meant ----------------------------------------------------------------------


def test_a_version_is_fetched_once_and_what_is_neither_path_nor_version_is_refused(
    tmp_path, monkeypatch
):
    # GIVEN a pip that puts a wheel where it is told
    asked = []

    def pip(command, **_):
        asked.append(command)
        wheel(Path(command[command.index("--dest") + 1]), "0.6.0")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(release.subprocess, "run", pip)
    said = []
    # WHEN the release is asked about twice
    first = source_of("0.6.0", said.append)
    second = source_of("0.6.0", said.append)
    # THEN it was fetched once, without dependencies, and it was said
    assert first == second and first.is_file()
    assert len(asked) == len(said) == 1
    assert "--no-deps" in asked[0] and "sglang==0.6.0" in asked[0]
    # AND nothing half fetched is left
    assert [path.name for path in release.cache_directory().iterdir()] == ["0.6.0"]
    with pytest.raises(LabError, match="neither a version"):
        source_of("../0.6", said.append)


def test_a_pip_that_fails_is_told_with_its_last_words(tmp_path, monkeypatch):
    def pip(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution\n")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(release.subprocess, "run", pip)
    with pytest.raises(LabError, match=r"No matching distribution; .*--sglang WHEEL"):
        source_of("9.9.9", lambda words: None)


# -- the whole, beside what importing finds -------------------------------------------------------


def _doctor(*arguments: str) -> dict:
    command = [sys.executable, "-m", "triage", "doctor", "--json", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout)


def test_the_source_of_a_release_answers_as_its_import_does(tmp_path):
    from triage.lab import versions

    known = versions.available()
    if "0.5.23" not in known:
        pytest.skip("SGLang 0.5.23 is not unpacked beside the installed one")
    # GIVEN the newest release, which may be imported here but for its scheduler
    imported, read = _doctor("--sglang", "0.5.23"), _doctor("--sglang", str(known["0.5.23"]))
    assert read["stages"]["sglang"] | {"seconds": 0} == {
        "version": "0.5.23",
        "path": str(known["0.5.23"]),
        "state": "read",
        "seconds": 0,
    }
    # THEN every hook that binds by import binds by source, for the same reason
    bound = {(hook["target"], hook["why"], hook["bound"]) for hook in imported["hooks"]}
    by_source = {(hook["target"], hook["why"], hook["bound"]) for hook in read["hooks"]}
    assert bound <= by_source
    # AND what the import did not reach, for want of a package, the source has
    out_of_reach = {
        target
        for target, why in imported["not_applicable"].items()
        if target not in read["not_applicable"]
    }
    elsewhere = ("managers.scheduler", "model_runner", "flashattention_backend")
    assert all(any(name in each for name in elsewhere) for each in out_of_reach)
    assert out_of_reach <= {target for target, _, _ in by_source}
    assert set(read["not_applicable"]) <= set(imported["not_applicable"])
    assert read["exit_code"] == 0
    # AND a name that is gone is missed: a release whose pool has another one
    source = (known["0.5.23"] / "sglang/srt/mem_cache/swa_memory_pool.py").read_text()
    copy = tmp_path / "changed"
    _linked(known["0.5.23"] / "sglang", copy / "sglang", "srt/mem_cache/swa_memory_pool.py")
    (copy / "sglang/srt/mem_cache/swa_memory_pool.py").write_text(
        source.replace("class SWAKVPool(", "class WindowPool(")
    )
    changed = _doctor("--sglang", str(copy))
    assert changed["exit_code"] == 1
    assert "SWAKVPool" in changed["stages"]["bind"]["reason"]


def _linked(source: Path, target: Path, changed: str) -> None:
    """`target` with links to all of `source` but the folders above `changed`, and that."""
    first, _, rest = changed.partition("/")
    target.mkdir(parents=True)
    for each in source.iterdir():
        if each.name != first:
            (target / each.name).symlink_to(each)
        elif rest:
            _linked(each, target / first, rest)
