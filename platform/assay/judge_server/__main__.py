"""`python -m assay.judge_server`: the same as `assay judge-server`."""

from __future__ import annotations

import sys

import typer

from assay.errors import AssayError
from assay.judge_server.command import JudgeServerCommand, judge_server_command


def main() -> None:
    """Runs the command; bad input is one line on standard error and exit code 2."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=JudgeServerCommand)(judge_server_command)
    try:
        app()
    except AssayError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
