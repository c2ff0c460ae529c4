"""The page of all commands, made from the commands: `python tests/support/cli_page.py > platform/docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from assay.cli import whole_app

HEAD = """# Commands

Made from the commands themselves (`tests/support/cli_page.py`). Exit codes: 0 done, 1 failed, 2 bad input, 3 stopped by
a limit or a signal; the same command then continues.
"""


def cli_page() -> str:
    """Markdown: a heading per command with its sentence, and a line per argument and flag."""
    return HEAD + "".join(_sections("assay", typer.main.get_command(whole_app())))


def _sections(name: str, command: Any) -> Iterator[str]:
    parts = getattr(command, "commands", None)
    if parts is not None:
        for part in sorted(parts):
            yield from _sections(f"{name} {part}", parts[part])
        return
    yield f"\n## {name}\n\n{' '.join((command.help or '').split())}\n"
    lines = [_line(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if lines:
        yield "\n" + "\n".join(lines) + "\n"


def _line(parameter: Any) -> str:
    is_flag = parameter.param_type_name == "option"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    said = " ".join((getattr(parameter, "help", None) or "").split())
    needed = " (required)" if parameter.required and is_flag else ""
    shown = names if is_flag else f"`{parameter.name.upper()}`"
    return f"- {shown}{needed}{': ' + said if said else ''}"


if __name__ == "__main__":
    sys.stdout.write(cli_page())
