"""Groups of options: Typer sees plain options in their place, the command gets one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field

from assay.config import Config
from assay.option_groups import FieldsOf, with_groups


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


class Sea(Config):
    """A config class."""

    depth: float = Field(2.5, gt=0)
    """Metres to the `ground`."""
    kind: Literal["salt", "fresh"] = "salt"
    """Of water."""
    name: str = "unseen"


def test_fields_of_a_config_class_are_options_with_its_help_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Mapping[str, object]] = []

    def dive(*, sea: Annotated[Mapping[str, object], FieldsOf(Sea, ("depth", "kind"))]) -> None:
        seen.append(sea)

    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(with_groups(dive))
    app(["--depth", "7", "--kind", "sour"], standalone_mode=False)
    app([], standalone_mode=False)
    assert seen == [{"depth": 7.0, "kind": "sour"}, {"depth": 2.5, "kind": "salt"}]
    app(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    assert "Metres to the ground." in text and "--name" not in text
