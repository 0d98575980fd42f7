"""SGLang's real classes in two and four processes over gloo, one rank's table made wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.packaging.test_shell_blocks import blocks, out_of_order
from triage.lab.ranks import WRONG_FROM, begin
from triage.ranks import merge

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "ranks.md"


@pytest.mark.parametrize(
    ("ranks", "wrong", "basis"),
    [(2, 1, "alarm"), pytest.param(4, 2, "majority", marks=pytest.mark.slow)],
)
def test_the_rank_whose_table_goes_wrong_is_named_at_its_step(tmp_path, ranks, wrong, basis):
    # GIVEN ranks of one group, in one of which two requests exchange a page from step 12 on
    children = begin(ranks, tmp_path, wrong=wrong)
    codes = [child.wait(timeout=400) for child in children]
    # THEN that rank raises an alarm, and the others are lost with it
    assert codes == [1 if rank == wrong else 2 for rank in range(ranks)]
    # AND every rank has left its ring, which the alarm asked it for
    found = merge([tmp_path])
    (group,) = found.groups
    assert not group.missing
    # (a ring that is asked for twice is written twice, and counts once)
    assert all(why.startswith("the same dump") for why in found.reading.left_out.values())
    snaps = {place.tp for place, of in group.dumps.items() if any(d.kind == "snap" for d in of)}
    assert snaps == set(range(ranks)) - {wrong}
    # AND merged they name the rank, the step and the table
    divergence = group.compared.divergence
    assert [place.tp for place in divergence.wrong] == [wrong] and divergence.basis == basis
    assert (divergence.step, divergence.tables) == (WRONG_FROM, ("page_table",))
    assert divergence.launch.space == "swa" and not divergence.earlier
    assert group.compared.steps == (1, WRONG_FROM)
    # AND all tables but out_cache_loc of the first launch were compared, and alike until then
    recorded = [launch for dumps in group.dumps.values() for d in dumps for launch in d.launches]
    assert all(launch.prints["req_pool_indices"] is not None for launch in recorded)
    assert any(launch.prints["out_cache_loc"] is not None for launch in recorded)
    if ranks == 2:
        shown = next(each.prints for each in blocks(PAGE.read_text()) if each.prints)
        printed = re.sub(r" \([^()]*\.msgpack\)", "", "\n".join(found.lines()))
        assert out_of_order(shown, printed) is None, printed
