"""The group of all commands: its order in the help, other names, and what to say for a name it lacks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import click

# Commands of CloudQuery's that are about its hub.
HUB = frozenset({"login", "logout", "switch", "addon", "publish"})
NO_HUB = (
    "Sharder has no hub and no account: plugins come with the program, and nothing needs a login."
)


class Commands(click.Group):
    """Commands in sections, in the order in which one needs them."""

    def __init__(
        self,
        sections: Mapping[str, Sequence[click.Command]],
        aliases: Mapping[str, str],
        help: str,  # noqa: A002  # click's name
    ) -> None:
        commands = [c for section in sections.values() for c in section]
        super().__init__(
            "sharder",
            {c.name or "": c for c in commands},
            help=help,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )
        self.sections = sections
        self.aliases = aliases

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(unknown(args[0], [*self.commands, *self.aliases]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        widest = max(map(len, self.commands))
        formatter.write_paragraph()
        # No blank lines between the sections: all of it has to fit a screen.
        for title, commands in self.sections.items():
            formatter.write_heading(title)
            with formatter.indentation():
                rows = [((c.name or "").ljust(widest), c.get_short_help_str(70)) for c in commands]
                formatter.write_dl(rows)


def unknown(name: str, known: Sequence[str]) -> str:
    """What to say for a command that is not there."""
    if name in HUB:
        return f"There is no command '{name}'. {NO_HUB}"
    near = difflib.get_close_matches(name, known, 1, 0.5)
    meant = f" Did you mean '{near[0]}'?" if near else " `sharder --help` lists all."
    return f"There is no command '{name}'.{meant}"
