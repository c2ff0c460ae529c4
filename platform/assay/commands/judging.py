"""The commands around judges, hung onto the command line: `judge-server`, and the meta-evaluation of judges."""

from __future__ import annotations

import typer

from assay.judge_server.command import judge_server_command


def register(app: typer.Typer, metaeval: typer.Typer) -> None:
    """Add the judging commands to `assay` and to `assay metaeval`."""
    app.command("judge-server")(judge_server_command)
