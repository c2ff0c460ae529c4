"""Whatever is trained can be generated from: a tiny adapter of each architecture, through the engine of the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.architecture_page import FOUND, outcome, page
from support.architecture_probe import probe
from support.architectures import architectures

FEW = ("arcee", "bloom", "codegen", "deepseek_v2", "gpt2", "llama", "mixtral", "phi")
PAGE = Path(__file__).resolve().parents[2] / "platform" / "docs" / "architectures.md"
SERVED = ("vLLM", "transformers")


@pytest.fixture(scope="module")
def known() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(FOUND.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return probe(FEW, tmp_path_factory.mktemp("few"), at_once=1)


@pytest.mark.parametrize("kind", FEW)
def test_what_is_trained_is_served_by_the_engine_of_the_rule(kind: str, few: dict[str, dict[str, Any]]) -> None:
    """Mixtral's engine died, DeepSeek's training raised PEFT's own error, and so on."""
    said, reason = outcome(few[kind])
    assert said in SERVED, reason
    assert few[kind]["answers"]["adapter"] == few[kind]["reference"]["adapter"]
    assert few[kind]["answers"]["base"] == few[kind]["reference"]["base"]


def test_the_page_names_every_architecture_of_transformers(known: dict[str, list[str]]) -> None:
    assert sorted(known) == architectures()
    assert PAGE.read_text(encoding="utf-8") == page(known)


@pytest.mark.study
def test_every_architecture_is_as_the_page_says(known: dict[str, list[str]], tmp_path: Path) -> None:
    found = probe(architectures(), tmp_path)
    assert {kind: outcome(said)[0] for kind, said in found.items()} == {kind: said[0] for kind, said in known.items()}
