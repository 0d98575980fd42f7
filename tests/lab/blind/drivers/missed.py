"""Made up: a number that nothing of SGLang's memory depends on is wrong."""

from contextlib import contextmanager

NAME = "missed"
REFERENCE = "made up"
SUBSYSTEM = "nothing that is watched"
WHAT = "A counter of the script's own is one too high."
EXPECTED = {"sentence": "The counter is wrong."}


counted = []


@contextmanager
def plant(harmed):
    counted.append(lambda: harmed("2 was counted for 1"))
    try:
        yield
    finally:
        counted.clear()


def drive(lab):
    lab.event("one is counted")
    for count in counted:
        count()
    lab.step()
