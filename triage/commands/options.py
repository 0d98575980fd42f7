"""What several commands share: an option, and how a group lists its commands."""

from __future__ import annotations

import click


class WholeHelp(click.Group):
    """A group that lists the first sentence of each command's help whole, over several lines."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        listed = [(name, self.get_command(context, name)) for name in self.list_commands(context)]
        rows = [(name, each.get_short_help_str(limit=400)) for name, each in listed if each]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


force_option = click.option("--force", is_flag=True, help="Replace a file that is there.")
"""No command writes over another file without it, nor over its own input with it."""
