"""`triage quality`: right answers, and the first place where a run parts from its baseline."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.fleet.server import Script, ScriptedServer, colour_of
from triage.cli import main
from triage.fleet import colour_task
from triage.fleet.quality import Task, common_prefix, load_tasks

NAMES = {rgb: names.split("|")[0] for names, rgb in colour_task.COLOURS}


def invoke(*arguments):
    return CliRunner().invoke(main, ["quality", *(str(argument) for argument in arguments)])


def name_it(content):
    return f"The colour is {NAMES[colour_of(content)]}."


def misname_white(content):
    rgb = colour_of(content)
    return "The colour is beige." if rgb == (248, 248, 248) else name_it(content)


@pytest.fixture
def baseline(tmp_path):
    """A run of the colour set against a server that sees every colour right."""
    with ScriptedServer(Script(answers=name_it)) as url:
        done = invoke("--base-url", url, "--out", tmp_path / "base.jsonl", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["right"] == 30
    return tmp_path / "base.jsonl"


def test_thirty_colours_are_sent_as_images_and_judged_by_name(tmp_path, baseline):
    # WHEN a server names one of them wrong
    script = Script(answers=misname_white)
    with ScriptedServer(script) as url:
        done = invoke("--base-url", url, "--out", tmp_path / "r.jsonl", "--baseline", baseline)
    # THEN accuracy, agreement and the divergence say so
    assert done.exit_code == 0, done.output
    assert "accuracy 29/30 (96.7%)" in done.output
    assert "identical to the baseline 29/30" in done.output
    assert "first divergence: colour-22, character 14: 'white.' became 'beige.'" in done.output
    assert all(body["temperature"] == 0 for body in script.seen)


def test_multiple_choice_takes_the_letter_from_a_file_the_user_brings(tmp_path):
    tasks = tmp_path / "mmlu.jsonl"
    lines = [
        {"id": "q1", "prompt": "2 + 2?", "choices": ["3", "4", "5", "6"], "answer": "B"},
        {"id": "q2", "prompt": "Capital of France?", "choices": ["Rome", "Paris"], "answer": "B"},
    ]
    tasks.write_text("\n".join(json.dumps(line) for line in lines))
    with ScriptedServer(Script(answers=lambda text: "B" if "2 + 2" in text else "A. Rome")) as url:
        done = invoke("--base-url", url, "--tasks", tasks, "--out", tmp_path / "r.jsonl", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["right"] == 1


@pytest.mark.parametrize(
    ("text", "right"),
    [("Red", True), ("It is red.", True), ("reddish", False), ("", False), ("crimson, RED", True)],
)
def test_an_answer_counts_as_a_word_and_not_as_a_part_of_one(text, right):
    assert Task("t", "?", "red|scarlet").is_right(text) is right


@pytest.mark.parametrize(
    ("one", "other", "at"), [("abc", "abd", 2), ("ab", "abc", 2), ("", "x", 0), ("same", "same", 4)]
)
def test_the_first_difference_is_found(one, other, at):
    assert common_prefix(one, other) == at


def test_the_built_in_set_has_thirty_distinct_images():
    assert len(load_tasks("colours")) == 30
    assert len({rgb for _, rgb in colour_task.COLOURS}) == 30


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        ("", "holds no task"),
        ("{}", "line 1 is no task"),
        ('{"id": 1, "prompt": "?", "choices": ["a"], "answer": "B"}', "is no letter of 1 choices"),
    ],
    ids=["absent", "empty", "no prompt", "wrong letter"],
)
def test_a_bad_task_file_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "tasks.jsonl"
    if content is not None:
        path.write_text(content)
    done = invoke("--base-url", "http://127.0.0.1:9", "--tasks", path)
    assert done.exit_code == 2
    assert said in done.output
