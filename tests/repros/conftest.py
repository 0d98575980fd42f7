"""The reproducers run `triage lab serve` on the machine that its own tests made up."""

from tests.lab.server.conftest import machine

__all__ = ["machine"]
