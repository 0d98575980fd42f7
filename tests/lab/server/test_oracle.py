"""The oracle of a real server: hand-made tables, and the CPU lab's runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests import prepared
from triage.lab import versions
from triage.lab.server.late import Moments, Observer, Row, Step
from triage.lab.server.oracle import Oracle, Read, Taken, judge, read_account

CHILD = Path(__file__).with_name("oracle_child.py")
PAGE, WINDOW = 4, 7


def sound(length: int = 18, queries: int = 1) -> Taken:
    """One row of five pages: full pages 5..9, which are SWA pages 1..5."""
    slots = np.array([[20, 24, 28, 32, 36]])
    mapping = np.zeros(48, dtype=np.int64)
    mapping[20:40] = np.arange(4, 24)
    return Taken(
        table=np.array([[1, 2, 3, 4, 5]], dtype=np.int32),
        lengths=np.array([length]),
        queries=np.array([queries]),
        slots=slots,
        mapping=mapping,
        window_left=WINDOW,
        page_size=PAGE,
    )


def test_a_table_that_is_what_the_mapping_says_is_sound():
    assert not judge(sound())


def test_full_ids_in_the_window_are_wrong_and_those_before_it_are_nobodys():
    # GIVEN the full pool's ids in every column
    taken = replace(sound(), table=np.array([[5, 6, 7, 8, 9]], dtype=np.int32))
    # WHEN a row of 18 tokens sees 7 back from its one query: positions 10 to 17
    found = judge(taken).entries
    # THEN the columns of those positions are wrong, with what they should be
    assert found == [(0, 2, 7, 3), (0, 3, 8, 4), (0, 4, 9, 5)]


def test_every_query_of_a_verify_sees_its_own_window():
    # GIVEN four queries: the first stands at position 14 and sees from 7 on
    taken = replace(sound(queries=4), table=np.array([[1, 9, 3, 4, 5]], dtype=np.int32))
    # THEN column 1 is seen by it, though not by a single query at the end
    assert judge(taken).entries == [(0, 1, 9, 2)]
    assert not judge(replace(taken, queries=np.array([1])))


def test_without_a_window_every_column_up_to_the_length_counts():
    taken = replace(
        sound(length=12),
        table=np.array([[5, 6, 7, 99, 99]], dtype=np.int32),
        mapping=None,
        window_left=-1,
    )
    assert not judge(taken)
    assert judge(replace(taken, lengths=np.array([13]))).entries == [(0, 3, 99, 8)]


def test_a_page_that_nobody_owns_any_more_is_wrong_though_both_say_the_dummy_page():
    # GIVEN a freed slot: the mapping says 0, and so does a table built from it
    taken = sound()
    mapping = taken.mapping.copy()
    mapping[36:40] = 0
    freed = replace(taken, mapping=mapping, table=np.array([[1, 2, 3, 4, 0]], dtype=np.int32))
    assert judge(freed).entries == [(0, 4, 0, 0)]


def test_an_empty_row_sees_nothing():
    assert not judge(sound(length=0))


class Server:
    """What the oracle asks of a server: one pool, one request table."""

    def __init__(self, directory: Path) -> None:
        self.k = torch.zeros(7, PAGE, 1, 2)
        mapping = torch.zeros(48, dtype=torch.int64)
        mapping[20:40] = torch.arange(4, 24)
        half = SimpleNamespace(k_buffer=[self.k])
        self.pool = SimpleNamespace(
            swa_kv_pool=half,
            full_kv_pool=SimpleNamespace(k_buffer=[]),
            full_to_swa_index_mapping=mapping,
        )
        table = torch.zeros(4, 20, dtype=torch.int32)
        table[2] = torch.arange(20, 40)
        self.moments = Moments()
        self.moments.pools.append(self.pool)
        self.moments.scheduler = SimpleNamespace(
            req_to_token_pool=SimpleNamespace(req_to_token=table)
        )
        self.path = directory / "oracle.jsonl"
        self.oracle = Oracle(self.path)
        self.oracle.moments = self.moments
        self.moments.observers.append(self.oracle)
        self.table = torch.tensor([[1, 2, 3, 4, 5], [0, 0, 0, 0, 0]], dtype=torch.int32)

    def read(self) -> Read:
        return Read.of(
            {
                "kv_cache": (self.k.permute(0, 2, 1, 3), self.k.permute(0, 2, 1, 3)),
                "block_tables": self.table,
                "seq_lens": torch.tensor([18, 1], dtype=torch.int32),
                "window_left": WINDOW,
            }
        )

    def play(
        self,
        *,
        request: object | None = None,
        meanwhile: Callable[[Server], None] = lambda server: None,
    ) -> None:
        asked = SimpleNamespace(rid="a", req_pool_idx=2) if request is None else request
        step = self.moments.begin([asked])
        meanwhile(self)
        self.oracle.look(self.read(), step, captured=True)
        self.table[0, 4] = self.table[0, 4]  # what comes later changes nothing that was copied
        self.moments.settle(step)


def test_the_first_wrong_step_is_the_one_whose_launch_was_wrong(tmp_path):
    # GIVEN two sound steps of one request and a padded row, then a wrong page, then sound again
    server = Server(tmp_path)
    server.play()
    server.play()
    server.table[0, 4] = 9
    server.play()
    server.table[0, 4] = 5
    server.play()
    # THEN the account names the third step, and one table
    account = read_account(server.path)
    assert (account.first_wrong, account.wrong_tables, account.space) == (3, 1, "swa")
    assert account.form == "captured"


def moved(server: Server) -> None:
    """A prompt's result arrives while its decode waits: the row goes to pages of the tree."""
    books = server.moments.scheduler.req_to_token_pool.req_to_token
    books[2, 16:20] = torch.arange(8, 12)
    server.pool.full_to_swa_index_mapping[36:40] = 0
    server.pool.full_to_swa_index_mapping[8:12] = torch.arange(24, 28)


def test_a_row_that_the_prefix_cache_moves_behind_the_launch_is_not_wrong(tmp_path):
    # GIVEN a launch whose row is given other pages, its own freed, before the copies are taken
    server = Server(tmp_path)
    server.play(meanwhile=moved)
    assert read_account(server.path).first_wrong is None
    # THEN in the next step the old page is wrong, as it was not told of at that launch
    server.play()
    assert read_account(server.path).first_wrong == 2


def test_an_entry_that_neither_the_launch_nor_the_look_explains_is_wrong(tmp_path):
    server = Server(tmp_path)
    server.table[0, 3] = 2
    server.play(meanwhile=moved)
    account = read_account(server.path)
    assert (account.first_wrong, account.wrong_tables) == (1, 1)


def test_a_row_of_a_request_that_had_ended_is_counted_apart(tmp_path):
    server = Server(tmp_path)
    server.table[0, 4] = 9
    ended = SimpleNamespace(rid="a", req_pool_idx=2, finished=lambda: True)
    server.play(request=ended)
    account = read_account(server.path)
    assert account.first_wrong is None and account.of_ended == 1


def test_a_k_cache_of_no_hybrid_pool_is_passed_over(tmp_path):
    server = Server(tmp_path)
    server.moments.pools.clear()
    server.play()
    assert server.oracle.skipped == 1 and server.oracle.tables == 0


def test_an_exception_that_leaves_a_step_is_on_record_with_its_step(tmp_path):
    server = Server(tmp_path)
    server.moments.steps = 41

    def refuse(scheduler, batch, result):
        raise ValueError("I2: a page of another request\nand more")

    def launch(scheduler, batch):
        return SimpleNamespace()

    scheduler = server.moments.scheduler
    result = server.moments._run_batch(launch, scheduler, SimpleNamespace(reqs=[]))
    with pytest.raises(ValueError):
        server.moments._process_batch_result(refuse, scheduler, None, result)
    account = read_account(server.path)
    assert (account.raised, account.error) == (42, "ValueError")


def test_an_observer_that_fails_does_not_end_the_server(capsys):
    class Broken(Observer):
        def begin(self, step: Step) -> None:
            raise RuntimeError("no")

    mine = Moments()
    mine.observers.append(Broken())
    assert mine.begin([]).number == 1
    assert "Broken.begin: RuntimeError: no" in capsys.readouterr().out


def test_rows_are_told_by_their_prompt():
    one = Row(SimpleNamespace(origin_input_ids=[1, 2, 3]), 1)
    same, other = (Row(SimpleNamespace(origin_input_ids=ids), 2) for ids in ([1, 2, 3], [12, 3]))
    assert one.prompt == same.prompt != other.prompt


def played(directory: Path, defect: str, version: str = "0.5.14") -> dict[str, object]:
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python(CHILD, directory, defect, version=version)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_oracle_agrees_with_the_labs_on_the_first_wrong_launch(tmp_path):
    # GIVEN the historical defect in the CPU lab, whose own oracle looks at every launch
    seen = played(tmp_path, "stale-swa-state")
    # THEN both name the same launch, step, role and pool
    assert seen["lab"] is not None
    assert seen["oracle"] == seen["lab"]


def test_neither_oracle_sees_anything_in_a_sound_run(tmp_path):
    seen = played(tmp_path, "none")
    assert seen["lab"] is None and seen["oracle"] is None
    assert seen["tables"] == seen["launches"] > 100 and not seen["skipped"]
