"""Plain help pages for `h2o`.

Typer draws its own with Rich, whose import takes longer than everything else that `h2o --help` needs. Set
`rich_markup_mode=None` beside these classes.
"""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

WHOLE = 200  # characters: more than any command's first sentence has


class Commands(TyperGroup):
    """A group whose help gives each command's first sentence whole, where click cuts it at the end of a line."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:
        """Write the section `Commands`."""
        rows = [(name, command.get_short_help_str(WHOLE)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Panels(TyperCommand):
    """A command whose help lists options under the title of their `rich_help_panel`."""

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:
        """Write a section for each panel, in the order of their first options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if (row := option.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)
