"""Recorded judges of LLMBar, offline: published prompts are rendered, and recorded replies read, exactly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import PairVerdict
from assay.scoring.judges.protocols.pairwise import PairInstance, make_pairwise_judge
from support.replayed import replay_protocol

SUBSETS = ("Natural", "GPTInst")
JUDGES = ("GPT-4", "ChatGPT")
PUBLISHED = ("Vanilla", "CoT", "Swap", "Metrics_Reference")


@pytest.fixture(scope="module")
def published_prompts(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLMBar's own prompt files, as a user would point to them."""
    folder = tmp_path_factory.mktemp("llmbar_prompts")
    for name, text in json.loads((shared_data / "llmbar/prompts.json").read_text()).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def exchanges_by_index(shared_data: Path, subset: str, judge: str, strategy: str) -> dict[int, list[dict[str, Any]]]:
    rows: dict[int, list[dict[str, Any]]] = {}
    with gzip.open(shared_data / f"llmbar/exchanges/{subset}.{judge}.{strategy}.jsonl.gz", "rt") as file:
        for line in file:
            row = json.loads(line)
            rows.setdefault(row["index"], []).append(row)
    return rows


def dataset(shared_data: Path, subset: str) -> list[dict[str, Any]]:
    with gzip.open(shared_data / f"llmbar/datasets/{subset}.json.gz", "rt") as file:
        rows: list[dict[str, Any]] = json.load(file)
    return rows


def recorded(rows: list[dict[str, Any]], call: JudgeCall) -> dict[str, Any]:
    """The exchange of this instance, step and order."""
    swap = None if call.step.startswith("auxiliary") else call.order == "swapped"
    (row,) = [
        row
        for row in rows
        if row["stage"] == call.step and row["swap"] in ((swap,) if swap is not None else (None, False))
    ]
    return row


def replay(
    shared_data: Path, subset: str, judge: str, strategy: str, mode: str, prompts: Path | None
) -> list[PairVerdict]:
    """Verdicts on the whole subset; with published prompts each rendered conversation must be the recorded one."""
    protocol = make_pairwise_judge(strategy, mode, prompts_dir=prompts)  # type: ignore[arg-type]
    exchanges = exchanges_by_index(shared_data, subset, judge, strategy)
    verdicts = []
    for index, item in enumerate(dataset(shared_data, subset)):

        def answer(call: JudgeCall, rows: list[dict[str, Any]] = exchanges[index]) -> str:
            if call.step.endswith("_again"):
                return "no further reply was recorded"
            row = recorded(rows, call)
            if prompts is not None:
                assert [{"role": m.role, "content": m.content} for m in call.messages] == row["messages"]
                assert (call.sampling.temperature, call.sampling.max_tokens) == (row["temperature"], row["max_tokens"])
            return str(row["completion"])

        instance = PairInstance(item["input"], item["output_1"], item["output_2"])
        verdicts.append(replay_protocol(protocol, instance, answer))
    return verdicts


@pytest.mark.parametrize("strategy", PUBLISHED)
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("subset", SUBSETS)
def test_compat_reproduces_every_recorded_winner_and_both_statistics(
    shared_data: Path, published_prompts: Path, subset: str, judge: str, strategy: str
) -> None:
    verdicts = replay(shared_data, subset, judge, strategy, "compat", published_prompts)
    exchanges = exchanges_by_index(shared_data, subset, judge, strategy)
    for index, verdict in enumerate(verdicts):
        last = [row for row in exchanges[index] if not row["stage"].startswith("auxiliary")][-2:]
        winners = [
            None if row["winner"] is None else int(row["winner"]) for row in sorted(last, key=lambda r: r["swap"])
        ]
        assert [verdict.original.winner, verdict.swapped.winner] == winners
    labels = [item["label"] for item in dataset(shared_data, subset)]
    right = sum((v.original.winner == y) + (v.swapped.winner == y) for v, y in zip(verdicts, labels, strict=True))
    agree = sum(v.original.winner == v.swapped.winner for v in verdicts)
    expected = json.loads((shared_data / "llmbar/expected_shared.json").read_text())["results"]
    (row,) = [r for r in expected if (r["subset"], r["judge"], r["strategy"]) == (subset, judge, strategy)]
    n = len(labels)
    assert 100 * right / (2 * n) == pytest.approx(row["accuracy"], abs=1e-9)
    assert 100 * agree / n == pytest.approx(row["positional_agreement"], abs=1e-9)
    if (subset, judge, strategy) == ("Natural", "GPT-4", "Vanilla"):
        assert (100 * right / (2 * n), 100 * agree / n) == (95.5, 95.0)


@pytest.mark.parametrize("strategy", PUBLISHED)
def test_our_own_prompts_ask_the_same_steps_in_both_modes(shared_data: Path, strategy: str) -> None:
    for mode in ("compat", "strict"):
        verdicts = replay(shared_data, "Natural", "GPT-4", strategy, mode, None)
        assert all(verdict.original.winner in (1, 2) for verdict in verdicts)
