"""`assay --help`: every command once, in a whole sentence."""

from __future__ import annotations

from collections import Counter

import typer
from typer.testing import CliRunner

from assay.cli import whole_app
from assay.commands.overview import SECTIONS


def test_every_command_stands_under_one_heading() -> None:
    shown = Counter(name for names in SECTIONS.values() for name in names)
    commands = dict(vars(typer.main.get_command(whole_app()))["commands"])
    assert shown == Counter(list(commands)), "one line in assay/commands/overview.py"


def test_no_sentence_is_cut() -> None:
    said = CliRunner().invoke(whole_app(), ["--help"]).output
    assert "..." not in said.split("Start here:")[1]
    assert "Cells, distinct trainings, tokens, GPU-hours, judge calls and" in said
