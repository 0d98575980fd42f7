"""Answers at temperature 0: how many are right, and where they part from a baseline run.

A task file has one JSON object a line: `id`, `prompt`, `answer` (alternatives separated by
|), and optionally `choices` (multiple choice, MMLU style; the answer is then a letter), or
`rgb` (a solid-colour image sent with the prompt). An answer is right if it contains an
alternative as a word, for multiple choice if the first letter it names is the right one.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triage.files.reading import read_regular
from triage.fleet import colour_task
from triage.fleet.client import Answer, Server
from triage.fleet.journal import Journal
from triage.fleet.workloads import FleetError

COLOURS = "colours"
"""The task file's name that stands for the set of `colour_task.py`."""

MAX_TASK_BYTES = 64 << 20
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True)
class Task:
    id: str
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    rgb: tuple[int, int, int] | None = None

    @property
    def content(self) -> Any:
        """The user message as the chat API takes it."""
        text = self.prompt
        if self.choices:
            options = (f"{LETTERS[i]}. {choice}" for i, choice in enumerate(self.choices))
            text = "\n".join([text, *options, "Answer with the letter only."])
        if self.rgb is None:
            return text
        return [colour_task.image_part(self.rgb), {"type": "text", "text": text}]

    def is_right(self, text: str) -> bool:
        if self.choices:
            named = re.search(r"\b([A-J])\b", text)
            return named is not None and named[1] == self.answer
        said = set(re.findall(r"\w+", text.lower()))
        return any(name.strip().lower() in said for name in self.answer.split("|"))


def load_tasks(source: str) -> list[Task]:
    """The tasks of a file, or the colour set. Raises FleetError naming file and line."""
    if source == COLOURS:
        return [_task(plain) for plain in colour_task.tasks()]
    try:
        lines = read_regular(Path(source), MAX_TASK_BYTES, FleetError).decode().splitlines()
    except UnicodeDecodeError as error:
        raise FleetError(f"{source} cannot be read: {error}; built in: {COLOURS}") from error
    tasks = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                tasks.append(_task(json.loads(line)))
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
                raise FleetError(f"{source}, line {number} is no task: {error!r}") from error
    if not tasks:
        raise FleetError(f"{source} holds no task")
    return tasks


def _task(plain: dict[str, Any]) -> Task:
    choices = tuple(str(choice) for choice in plain.get("choices", ()))
    answer = str(plain["answer"]).strip()
    if choices and answer not in LETTERS[: len(choices)]:
        raise ValueError(f"answer {answer!r} is no letter of {len(choices)} choices")
    rgb = plain.get("rgb")
    if rgb is not None:
        red, green, blue = (int(value) for value in rgb)
        rgb = (red, green, blue)
    return Task(str(plain["id"]), str(plain["prompt"]), answer, choices, rgb)


def digest(tasks: list[Task]) -> str:
    """Tells one set of tasks from another, whatever its file is called."""
    return hashlib.sha256(repr(tasks).encode()).hexdigest()[:16]


def asker(tasks: list[Task], max_tokens: int) -> Any:
    async def ask(server: Server, index: int, origin: float) -> Answer:
        return await server.chat(index, tasks[index].content, max_tokens, origin)

    return ask


@dataclass(frozen=True, slots=True)
class Quality:
    """right, answered: tasks. The rest compares with a baseline and is None without one.

    identical: answers equal to the baseline's. characters: share of characters up to the
    first difference, over all tasks. first_divergence: task, position, both continuations.
    """

    answered: int
    right: int
    identical: int | None = None
    compared: int | None = None
    characters: float | None = None
    first_divergence: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(tasks: list[Task], run: Journal, baseline: Journal | None = None) -> Quality:
    """Tasks without an answer, in either run, are left out of the comparison."""
    texts = {a.index: a.text for a in run.answers.values() if not a.error}
    right = sum(tasks[index].is_right(text) for index, text in texts.items())
    if baseline is None:
        return Quality(len(texts), right)
    before = {a.index: a.text for a in baseline.answers.values() if not a.error}
    both = sorted(texts.keys() & before.keys())
    same = {index: common_prefix(texts[index], before[index]) for index in both}
    parted = [index for index in both if texts[index] != before[index]]
    length = sum(max(len(texts[index]), len(before[index])) for index in both)
    divergence = None
    if parted:
        index = min(parted, key=lambda i: (same[i], i))
        at = same[index]
        divergence = {
            "task": tasks[index].id,
            "position": at,
            "baseline": before[index][at : at + 40],
            "run": texts[index][at : at + 40],
        }
    return Quality(
        answered=len(texts),
        right=right,
        identical=len(both) - len(parted),
        compared=len(both),
        characters=sum(same.values()) / length if length else 1.0,
        first_divergence=divergence,
    )


def common_prefix(one: str, other: str) -> int:
    """Characters before the first difference."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
