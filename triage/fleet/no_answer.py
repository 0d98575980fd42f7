"""The error of a server that answers what is no answer."""

from __future__ import annotations


class NoAnswer(Exception):
    """What came is not an answer of this API; says what it is instead."""
