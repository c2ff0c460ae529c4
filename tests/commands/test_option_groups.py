"""Groups of options: Typer sees plain options in their place, the command gets one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from assay.commands.option_groups import with_groups


@dataclass(frozen=True)
class Sky:
    """A group."""

    colour: Annotated[str, typer.Option(help="Of the sky.")] = "blue"
    clouds: Annotated[int, typer.Option("--num-clouds", min=0)] = 3
    birds: Annotated[list[str] | None, typer.Option()] = None


@dataclass(frozen=True)
class Ground:
    """A group with an option that must be given."""

    grass: Annotated[str, typer.Option()]


def shown(*arguments: str) -> list[object]:
    seen: list[object] = []

    def paint(
        *, name: Annotated[str, typer.Option()], sky: Sky, size: Annotated[int, typer.Option()] = 1, ground: Ground
    ) -> None:
        """Paint it."""
        seen.extend([name, sky, size, ground])

    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(with_groups(paint))
    app(list(arguments), standalone_mode=False)
    return seen


def test_a_group_comes_as_one_value_with_its_defaults() -> None:
    assert shown("--name", "n", "--grass", "green") == ["n", Sky(), 1, Ground("green")]
    given = shown("--name", "n", "--num-clouds", "0", "--birds", "a", "--birds", "b", "--grass", "g", "--size", "2")
    assert given == ["n", Sky("blue", 0, ["a", "b"]), 2, Ground("g")]


def test_help_lists_the_options_of_a_group_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("--help") == []
    text = capsys.readouterr().out
    places = [text.index(f"--{name}") for name in ("name", "colour", "num-clouds", "birds", "size", "grass")]
    assert places == sorted(places)
    assert "Paint it." in text and "Of the sky." in text
