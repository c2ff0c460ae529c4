"""Tests of more than two minutes are run by name: the page of figures names each."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parent


def test_every_file_with_long_tests_is_on_the_page_of_figures() -> None:
    page = (TESTS / "bench" / "README.md").read_text(encoding="utf-8")
    mark = "pytest.mark." + "study"
    marked = [path.relative_to(TESTS) for path in TESTS.rglob("test_*.py") if mark in path.read_text(encoding="utf-8")]
    assert len(marked) > 5
    assert not [str(path) for path in marked if f"tests/{path.as_posix()}" not in page]


def test_test_all_leaves_them_out() -> None:
    makefile = (TESTS.parent / "Makefile").read_text(encoding="utf-8")
    (line,) = (line for line in makefile.splitlines() if "pytest" in line and "not gpu and not network" in line)
    assert "not study" in line
