"""Score tables, agreement reports, and CIT and CAT from a table."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from assay.errors import DataError
from assay.metaeval.score_table.columns import Columns, ScoreTable
from assay.metaeval.score_table.report import agreement, scorer_report


def test_scored_plus_unscored_is_asked() -> None:
    table = ScoreTable.from_columns({"a": [1.0, None, 3.0], "b": [1.0, 2.0, 3.0]})
    assert table.coverage() == {
        "a": {"asked": 3, "scored": 2, "unscored": 1},
        "b": {"asked": 3, "scored": 3, "unscored": 0},
    }
    assert table.complete("common").values.tolist() == [[1, 3], [1, 3]]
    with pytest.raises(ValueError, match="most in 'a'"):
        table.complete("refuse")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, "high"]}, "saw 'high' in row 1"),
        ({"a": [1.0, math.inf]}, "infinity in row 1"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "lengths"),
    ],
)
def test_columns_that_are_no_scores_are_refused(columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ScoreTable.from_columns(columns)


def test_agreement_counts_gaps_and_gives_scipys_values() -> None:
    rng = np.random.default_rng(0)
    human = rng.integers(1, 6, 90).astype(float)
    scorer = human + rng.normal(size=90)
    scorer[:5], human[5:8] = math.nan, math.nan
    found = agreement(scorer, human, seed_key="k", resamples=300)
    assert (found["asked"], found["n"], found["unscored"]) == (87, 82, 5)
    kept = slice(8, None)
    assert found["spearman"]["value"] == pytest.approx(stats.spearmanr(scorer[kept], human[kept]).statistic)
    assert found["pearson"]["value"] == pytest.approx(stats.pearsonr(scorer[kept], human[kept]).statistic)
    assert found["kendall"]["value"] == pytest.approx(stats.kendalltau(scorer[kept], human[kept]).statistic)
    assert all(found[name]["low"] < found[name]["value"] < found[name]["high"] for name in ("spearman", "kendall"))
    assert "spearman_within_group" not in found


def test_within_group_is_the_mean_over_groups_that_have_a_value() -> None:
    scorer = [1, 2, 3, 3, 2, 1, 1, 1, 1]
    human = [1, 2, 3, 1, 2, 3, 1, 2, 3]
    found = agreement(scorer, human, list("aaabbbccc"), seed_key="k", resamples=200)["spearman_within_group"]
    # +1 in a, -1 in b, none in c
    assert found["value"] == pytest.approx(0.0)
    assert found["reason"].startswith("1 of 3 groups")


def test_groups_widen_the_interval_when_documents_differ() -> None:
    rng = np.random.default_rng(1)
    documents = np.repeat(np.arange(60), 10)
    shared = rng.normal(size=60)[documents]
    human, scorer = shared + 0.3 * rng.normal(size=600), shared + 0.3 * rng.normal(size=600)
    alone = agreement(scorer, human, seed_key="k", resamples=500)["spearman"]
    grouped = agreement(scorer, human, documents.tolist(), seed_key="k", resamples=500)["spearman"]
    assert grouped["high"] - grouped["low"] > 2 * (alone["high"] - alone["low"])
    assert grouped["num_clusters"] == 60


def test_large_tables_are_linearised_to_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    human = rng.normal(size=1500)
    scorer = np.round(human + rng.normal(size=1500), 1)
    resampled = agreement(scorer, human, seed_key="k", resamples=1000)
    monkeypatch.setattr("assay.metaeval.score_table.report.MAX_RESAMPLED_CELLS", 1)
    monkeypatch.setattr("assay.metaeval.score_table.report._KENDALL_ROWS", 1)
    linearised = agreement(scorer, human, seed_key="k", resamples=1000)
    for name in ("spearman", "pearson", "kendall"):
        assert "linearised" in linearised[name]["method"]
        width = resampled[name]["high"] - resampled[name]["low"]
        assert linearised[name]["value"] == pytest.approx(resampled[name]["value"])
        assert linearised[name]["low"] == pytest.approx(resampled[name]["low"], abs=0.1 * width)


def example_table(num_rows: int = 240) -> dict[str, list]:
    rng = np.random.default_rng(3)
    task = np.arange(num_rows) % 3
    human = task + rng.normal(size=num_rows)
    return {
        "id": [f"row{place}" for place in range(num_rows)],
        "task": [("qa", "sum", "tag")[place] for place in task],
        "doc": [int(place) // 6 for place in range(num_rows)],
        "human": human.tolist(),
        "good": (human + 0.5 * rng.normal(size=num_rows)).tolist(),
        "poor": (human - 1.0 * task + 2 * rng.normal(size=num_rows)).tolist(),
        "gaps": [None if place % 10 == 0 else round(float(human[place])) for place in range(num_rows)],
    }


def test_report_has_every_part_and_is_plain_json() -> None:
    table = pa.table(example_table())
    report = scorer_report(table, "human", Columns(task="task", group="doc"), seed_key="k", resamples=300)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report["scorers"]) == ["gaps", "good", "poor"]
    good = report["scorers"]["good"]
    assert set(good) >= {"n", "unscored", "spearman", "pearson", "kendall", "spearman_within_group", "pairwise"}
    tasks = [part["value"] for part in good["tasks"].values()]
    assert good["cit"]["value"] == pytest.approx(np.mean(tasks))
    assert good["cat"]["value"] == pytest.approx(good["spearman"]["value"])
    poor = report["scorers"]["poor"]
    # the poor scorer knows nothing about the differences between tasks
    assert poor["cat_task_centred"]["value"] > poor["cat"]["value"] - 0.05
    assert report["scorers"]["gaps"]["unscored"] == 24
    (pair,) = [row for row in report["comparisons"] if (row["first"], row["second"]) == ("good", "poor")]
    assert pair["difference"]["low"] > 0 and pair["perm_both"] < 0.01 and pair["williams"] < 0.001
    assert pair["perm_both"] <= pair["perm_both_holm"] <= 3 * pair["perm_both"] + 1e-12
    assert len(report["comparisons"]) == 3


def test_report_is_deterministic_and_needs_no_task_or_group() -> None:
    table = example_table(60)
    first, second = (scorer_report(table, "human", scorers=["good", "poor"], resamples=200) for _ in range(2))
    assert first == second
    assert "cit" not in first["scorers"]["good"] and "spearman_within_group" not in first["scorers"]["good"]


def test_a_constant_task_leaves_cit_undefined_and_named() -> None:
    table = example_table(90)
    table["good"] = [1.0 if task == "qa" else value for task, value in zip(table["task"], table["good"], strict=True)]
    part = scorer_report(table, "human", Columns(task="task"), scorers=["good"], resamples=200)["scorers"]["good"]
    assert part["cit"]["value"] is None and part["cit"]["reason"] == "qa: constant scorer column"
    assert part["cit_defined"]["value"] is not None and part["tasks"]["qa"]["value"] is None


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match="no column 'humans'"):
        scorer_report(example_table(9), "humans")
    with pytest.raises(DataError, match="no scorer column"):
        scorer_report({"human": [1, 2], "id": ["a", "b"]}, "human")


@pytest.mark.parametrize("what", ["task", "group"])
def test_a_row_without_a_label_is_named(what: str) -> None:
    table = {"human": [1, 2, 3, 4], "scorer": [1, 2, 3, 5], "of": ["x", None, "y", "y"]}
    with pytest.raises(DataError, match="column 'of': saw nothing in row 1"):
        scorer_report(table, "human", Columns(**{what: "of"}), seed_key="s")
