"""A new invariant is a catalogue row, its check and the hook that calls it; the rest follows.

The recipe of the documentation, played on a copy of the product: a made-up one, the next number
that is free, forbids row 13 of the request table.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from triage.invariants import catalogue

REPOSITORY = Path(__file__).parents[2]

NEW = f"I{len(catalogue.CATALOGUE) + 1}"

ROW = """
    Invariant(
        "NEW",
        "lifecycle",
        "no thirteenth row",
        "row 13 of the request table was handed out",
        ("`ReqToTokenPool.alloc`",),
        "Row 13 belongs to nobody.",
        "a request gets row 13.",
        "Ask for another row.",
        reads_device=True,
    ),
"""
CHECK = '''

def check_thirteen(rows, *, where):
    """NEW: nobody is given row 13."""
    from triage.evidence import Evidence
    from triage.invariants.catalogue import sentence

    if 13 not in rows:
        return None
    return Evidence("NEW", sentence("NEW"), where, total=1, facts={"row": 13})
'''
HOOK = """        if "NEW" in enabled:
            found += self._present(f"{ROWS}.alloc", self._thirteen, "row 13 (NEW)")
        return found
"""
METHOD = """
    def _thirteen(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        from triage.invariants.rows import check_thirteen

        rows = original(*args, **kwargs)
        found = check_thirteen(rows or (), where="alloc")
        if found is not None:
            self.reporter.fire_event(found)
        return rows
"""
PLAY = """
import json, pathlib, sys
from types import SimpleNamespace
from triage.lab import bootstrap
bootstrap.prepare()
from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
from triage.config import from_environment
from triage.dump.store import DumpStore
from triage.errors import TrapError
from triage.sglang.state_hooks import StateHooks
from triage.sglang.traps import Traps

def traps(mode):
    asked = from_environment({"SGLANG_TRTLLM_MHA_DEBUG_CHECKS": "NEW"})
    return Traps(DumpStore(pathlib.Path(sys.argv[1])), asked.checks, mode)

hooks = [hook for hook in StateHooks(traps("raise")).hooks() if "NEW" in hook.why]
pool = ReqToTokenPool(size=16, max_context_len=64, device="cpu", enable_memory_saver=False)
said = []
for row in (12, 13):
    pool.free_slots = [row]
    request = SimpleNamespace(req_pool_idx=None, is_chunked=0, kv_committed_len=0)
    try:
        hooks[0].around(ReqToTokenPool.alloc, pool, [request])
        said.append("")
    except TrapError as error:
        said.append(f"{type(error).__name__}: {error}")
watching = StateHooks(traps("contain"))
watching.hooks()
print(json.dumps({"said": said, "left_out": watching.absent.get("NEW", "")}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The product with a made-up invariant in it: three files are touched."""
    root = tmp_path_factory.mktemp("copy")
    no_caches = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(REPOSITORY / "triage", root / "triage", ignore=no_caches)
    invariants = root / "triage" / "invariants"
    insert(invariants / "catalogue.py", ROW.lstrip("\n"), before=")\n\nBY_NAME")
    insert(invariants / "rows.py", CHECK, before="\n\ndef check_row_pages")
    hooks = root / "triage" / "sglang" / "state_hooks.py"
    insert(hooks, HOOK, instead="        return found\n", after="def _state_hooks")
    insert(hooks, METHOD, before="\n    def _translated")
    return root


def insert(path, text, *, before="", instead="", after=""):
    source, text = path.read_text(), text.replace("NEW", NEW)
    at = source.index(before or instead, source.index(after))
    path.write_text(source[:at] + text + source[at + len(instead) :])


def run(copy, *command):
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{REPOSITORY / 'kernels'}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_made_up_invariant_is_asked_for_raised_dumped_and_left_out_by_name(copy, tmp_path):
    # GIVEN the copy, whose configuration accepts it
    # WHEN SGLang's own request table hands out row 12 and row 13 under the hook
    seen = json.loads(run(copy, "-c", PLAY.replace("NEW", NEW), str(tmp_path)).splitlines()[-1])
    # THEN the second is stopped by its name and with a dump
    quiet, loud = seen["said"]
    assert quiet == ""
    assert loud.startswith(f"BrokenLifecycle: {NEW}: row 13 of the request table was handed out")
    assert re.search(r"dump: (\S+)", loud)
    # AND a mode that may not wait for the device says that it leaves it out
    assert f"{NEW} would" in seen["left_out"]


def test_a_made_up_invariant_has_its_page_and_its_line_in_the_documentation(copy):
    page = run(copy, "-m", "triage", "explain", NEW)
    table = run(copy, "-m", "triage.invariants.catalogue")

    assert "no thirteenth row" in page and "Ask for another row." in page
    assert f"| {NEW} no thirteenth row | lifecycle |" in table


def test_the_documentation_holds_the_table_that_the_catalogue_makes():
    documents = [REPOSITORY / "TRIAGE.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

    assert any(catalogue.markdown_table() in page.read_text() for page in documents), (
        "docs/traps.md: put in what `python -m triage.invariants.catalogue` prints"
    )


def test_the_recipe_asks_for_the_page_of_the_number_that_comes_next():
    recipe = (REPOSITORY / "docs" / "extending.md").read_text().partition("## A release")[0]
    assert f"`triage explain {NEW}`" in recipe
    assert catalogue.find(NEW) is None


def test_every_row_names_a_family_and_says_where_it_is_seen():
    for number, row in enumerate(catalogue.CATALOGUE, start=1):
        assert row.name == f"I{number}"
        assert row.family in catalogue.FAMILIES
        assert row.seen_at, row.name
        assert row.meaning and row.example and row.try_this


def test_no_other_module_lists_invariants():
    """Naming one where it is checked is its place; a table of several is the catalogue's."""
    listed = {}
    for path in sorted((REPOSITORY / "triage").rglob("*.py")):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Assign | ast.AnnAssign):
                names = {
                    node.value
                    for node in ast.walk(statement)
                    if isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and re.fullmatch(r"I\d+", node.value)
                    and catalogue.find(node.value)
                }
                if len(names) > 1:
                    listed[str(path.relative_to(REPOSITORY / "triage"))] = names
    listed = {name: found for name, found in listed.items() if not name.startswith("lab/bugs/")}
    assert listed.keys() <= {
        "invariants/catalogue.py",
        "lab/matrix.py",  # what an earlier trap checked
        "device/checker.py",  # what an offender of the kernel is, by its tensor as well
        "device/packed_slot_kernels.py",  # where its kernel counts
        "invariants/packed_slots.py",  # the catalogue's sentences, said of slots
        "explain/__init__.py",
        "explain/classes.py",  # what a reader of an old dump is told by it
        "explain/rules_history.py",
        "importers/flashinfer_dump.py",  # "I16" is an integer type of safetensors there
    }
