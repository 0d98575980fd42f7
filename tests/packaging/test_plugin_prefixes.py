"""The plugin's short way out must miss no variable."""

from __future__ import annotations

from triage import config
from triage.plugin import PREFIXES


def test_every_variable_begins_with_a_prefix_that_the_plugin_looks_for():
    constants = [value for name, value in vars(config).items() if name.isupper()]
    names = {value for value in constants if isinstance(value, str) and "SGLANG" in value}
    assert config.DEBUG in names and all(name.startswith(PREFIXES) for name in names)
