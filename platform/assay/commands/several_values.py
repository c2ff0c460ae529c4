"""Options that take several values after one flag: `--strategy vanilla cot`, beside a flag for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand


class SeveralValues(TyperCommand):
    """A command without positional arguments, each of whose repeatable options takes all values up to the next flag."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's, with the flag said again before each further value."""
        flags = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        return super().parse_args(ctx, repeated(args, flags))


def repeated(arguments: Sequence[str], flags: Collection[str]) -> list[str]:
    """The command line with each of these flags before every one of its values."""
    found: list[str] = []
    flag = ""
    num_values = 0
    for argument in arguments:
        name, is_joined, _ = argument.partition("=")
        if argument.startswith("-"):
            flag, num_values = (name if name in flags else ""), len(is_joined)
        elif flag:
            found += [flag] if num_values else []
            num_values += 1
        found.append(argument)
    return found
