"""Options that several commands share."""

from __future__ import annotations

import click

force_option = click.option("--force", is_flag=True, help="Replace a file that is there.")
"""No command writes over another file without it, nor over its own input with it."""
