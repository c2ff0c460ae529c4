"""The pages say what is there: links lead somewhere, named files exist, commands and flags are real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from assay.cli import whole_app
from support.cli_page import cli_page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "platform" / "docs"
PAGES = (
    *(ROOT / name for name in ("README.md", "platform/README.md", "platform/THREATS.md")),
    *sorted(DOCS.glob("*.md")),
)
PLACES = (ROOT, ROOT / "platform" / "assay", ROOT / "tests")
MOST_WORDS = 700
"""Of the README: what it is and where to go; all else has a page."""


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands_of(page: Path) -> list[list[str]]:
    """Each `assay ...` line of the page's shell blocks, as words."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip(), comments=True)
            if words[:1] == ["assay"]:
                found.append(words)
    return found


def problem_with(words: list[str]) -> str:
    """What is wrong with a command line; empty where every word that is no value is known."""
    command: Any = typer.main.get_command(whole_app())
    rest = words[1:]
    while getattr(command, "commands", None):
        if not rest or rest[0] not in command.commands:
            return f"no command {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    flags = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in flags]
    return f"{' '.join(words[:3])} has no {unknown[0]}" if unknown else ""


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_named_files_exist(page: Path) -> None:
    named = re.findall(r"`([a-z_/]+/[a-z_]+\.(?:py|yaml))`", page.read_text(encoding="utf-8"))
    missing = [name for name in named if not any((place / name).exists() for place in PLACES)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_commands_and_flags_are_real(page: Path) -> None:
    problems = [said for words in commands_of(page) if (said := problem_with(words))]
    assert not problems


def test_an_unknown_command_or_flag_would_be_seen() -> None:
    assert problem_with(["assay", "rum", "quickstart"])
    assert problem_with(["assay", "run", "quickstart", "--fast"]) == "assay run quickstart has no --fast"
    assert not problem_with(["assay", "run", "quickstart", "--max-usd", "20"])


def test_the_page_of_commands_is_made_from_them() -> None:
    stored = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert stored == cli_page(), "python tests/support/cli_page.py > platform/docs/cli.md"


def proofs() -> dict[str, list[str]]:
    """Tests that the page of GPUs names, by the row that they show."""
    rows = re.findall(r"^\| ([AB]\d+) \|.*\| (.+) \|$", (DOCS / "gpu.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {row: re.findall(r"`([^`]+)`", named) for row, named in rows}


def test_each_row_of_the_gpu_page_names_tests_that_are_there() -> None:
    found = proofs()
    assert list(found) == [*(f"A{n}" for n in range(1, 11)), *(f"B{n}" for n in range(1, 14))]
    missing = []
    for row, named in found.items():
        assert named, row
        for test in named:
            file, _, name = test.partition("::")
            path = ROOT / file
            if not path.is_file() or not re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE):
                missing.append(test)
    assert not missing
