"""Agreement between annotators, loss against judged score, and recorded judges on real human scores."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from assay.metaeval.score_table.report import agreement
from assay.metaeval.statistics.ceiling import human_ceiling
from assay.metaeval.statistics.loss_line import loss_line


def read(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_ceiling_by_hand() -> None:
    # pairs: equal 1, reversed -1 twice; each against the mean of the others: rows 1 and 2 against a constant
    scores = np.array([[1.0, 2, 3, 4], [1, 2, 3, 4], [4, 3, 2, 1]])
    found = human_ceiling(scores, np.random.default_rng(0), resamples=200)
    assert found.between_pairs.value == pytest.approx((1 - 1 - 1) / 3)
    assert not found.with_the_others.is_defined and "constant" in found.with_the_others.reason


def test_one_annotator_agrees_better_with_the_mean_of_many() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=300)
    scores = truth + rng.normal(size=(4, 300))
    scores[0, :10] = math.nan
    found = human_ceiling(scores, rng, resamples=300)
    assert found.between_pairs.n == 290
    assert found.between_pairs.value + 0.05 < found.with_the_others.value
    with pytest.raises(ValueError, match="2 or more annotators"):
        human_ceiling(truth[None], rng)


def test_loss_line_names_the_model_that_is_off_it() -> None:
    loss = np.array([2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2])
    score = 80 - 10 * (loss - 2) + np.array([0.2, -0.2, 0.1, 0, -0.1, 0.2, -0.2])
    score[3] += 15
    found = loss_line(list("abcdefg"), loss, score, np.random.default_rng(0), resamples=300)
    assert found.off_the_line == ("d",)
    assert found.slope == pytest.approx(-10, abs=1.5)
    assert found.spearman.value == pytest.approx(stats.spearmanr(score, loss).statistic)
    with pytest.raises(ValueError, match="3 or more"):
        loss_line(["a"], [1.0], [2.0], np.random.default_rng(0))


@pytest.mark.parametrize(("dimension", "spearman"), [("coherence", 0.448), ("consistency", 0.557)])
def test_recorded_gpt4_correlates_as_published_on_summeval(shared_data: Path, dimension: str, spearman: float) -> None:
    summaries = read(shared_data / "summeval" / "summaries.jsonl.gz")
    human = {(row["doc_id"], row["system"]): row["human"][dimension] for row in summaries}
    replies = read(shared_data / "summeval" / "replies" / f"gpt-4-0314.rts.{dimension}.jsonl.gz")
    found = agreement(
        [float(row["score"]) for row in replies],
        [human[row["doc_id"], row["system"]] for row in replies],
        [row["doc_id"] for row in replies],
        seed_key="k",
        resamples=300,
    )
    assert found["spearman"]["value"] == pytest.approx(spearman, abs=0.001)
    assert found["spearman"]["low"] < spearman < found["spearman"]["high"]
    assert found["spearman"]["num_clusters"] == 100
