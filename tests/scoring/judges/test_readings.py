"""Free-text replies of real judges: the parser against readings made one by one before it was run (readings/)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from assay.scoring.judges.parsing import parse_option, parse_score

READINGS = Path(__file__).parent / "readings"
FILES = sorted(path.stem for path in READINGS.glob("*.json"))
SCALES = {"summeval": (1.0, 5.0), "topical_chat": (1.0, 3.0)}
DIMENSIONS = {"summeval": ("coherence", "consistency"), "topical_chat": ("coherence", "engagingness")}


def recorded_replies(shared_data: Path, name: str, source: str) -> dict[str, str]:
    """Reply by id, in the form of readings/README.md."""
    kind = name.split(".")[0]
    replies = {}
    for dimension in DIMENSIONS[kind]:
        with gzip.open(shared_data / f"{source}.{dimension}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if kind == "topical_chat":
                    for number, text in enumerate(row["completions"]):
                        replies[f"{dimension}/{row['index']}/{number}"] = text
                elif name.endswith(".h2h"):
                    pair = f"{row['system_1']}/{row['system_2']}/{int(row['swap'])}"
                    replies[f"{dimension}/{row['doc_id']}/{pair}"] = row["completion"]
                else:
                    replies[f"{dimension}/{row['doc_id']}/{row['system']}"] = row["completion"]
    return replies


@pytest.mark.parametrize("name", FILES)
def test_98_of_100_recorded_replies_are_read_as_by_a_careful_reader(shared_data: Path, name: str) -> None:
    readings = json.loads((READINGS / f"{name}.json").read_text())
    replies = recorded_replies(shared_data, name, readings["source"])
    low, high = SCALES[name.split(".")[0]]
    wrong = []
    for key, expected in readings["readings"].items():
        parsed = parse_option(replies[key], "ABC") if name.endswith(".h2h") else parse_score(replies[key], low, high)
        if parsed != expected:
            wrong.append((key, expected, parsed, replies[key]))
    assert len(readings["readings"]) >= 200
    assert len(wrong) <= 0.02 * len(readings["readings"]), wrong


def rows_of(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(("dimension", "published"), [("coherence", 0.448), ("consistency", 0.557)])
def test_parsed_scores_of_gpt4_correlate_with_experts_as_recorded(
    shared_data: Path, dimension: str, published: float
) -> None:
    from scipy.stats import spearmanr

    humans = {(r["doc_id"], r["system"]): r["human"] for r in rows_of(shared_data / "summeval/summaries.jsonl.gz")}
    parsed = [
        (score, humans[row["doc_id"], row["system"]][dimension])
        for row in rows_of(shared_data / f"summeval/replies/gpt-4-0314.rts.{dimension}.jsonl.gz")
        if (score := parse_score(row["completion"], 1, 5)) is not None
    ]
    assert len(parsed) >= 1198
    assert abs(spearmanr(*zip(*parsed, strict=True)).statistic - published) < 0.01


@pytest.mark.parametrize(("attribute", "published"), [("coherence", 0.505), ("engagingness", 0.564)])
def test_means_of_sampled_replies_correlate_with_humans_as_recorded(
    shared_data: Path, attribute: str, published: float
) -> None:
    from scipy.stats import pearsonr

    humans = {row["index"]: row["human"] for row in rows_of(shared_data / "topical_chat/items.jsonl.gz")}
    means, human = [], []
    for row in rows_of(shared_data / f"topical_chat/replies/rate_explain.{attribute}.jsonl.gz"):
        scores = [score for text in row["completions"] if (score := parse_score(text, 1, 3)) is not None]
        means.append(sum(scores) / len(scores))
        human.append(humans[row["index"]][attribute])
    assert abs(pearsonr(means, human).statistic - published) < 0.01
