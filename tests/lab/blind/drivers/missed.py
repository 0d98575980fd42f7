"""Made up: a number that nothing of SGLang's memory depends on is wrong."""

from contextlib import contextmanager

NAME = "missed"
REFERENCE = "made up"
SUBSYSTEM = "nothing that is watched"
WHAT = "A counter of the script's own is one too high."
EXPECTED = {"sentence": "The counter is wrong."}


@contextmanager
def plant(harmed):
    global counted
    counted = lambda: harmed("2 was counted for 1")  # noqa: E731
    try:
        yield
    finally:
        counted = lambda: None  # noqa: E731


def counted():
    return None


def drive(lab):
    lab.event("one is counted")
    counted()
    lab.step()
