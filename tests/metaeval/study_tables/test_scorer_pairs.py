"""Scorers are compared on what all of them scored, and named best only where they are told apart."""

from __future__ import annotations

import math

import numpy as np

from assay.metaeval.study_tables.frame import Panel, RunRow, ScorerInfo, StudyFrame
from assay.metaeval.study_tables.options import TableOptions
from assay.metaeval.study_tables.scorer_pairs import scorer_pair_rows
from assay.reports.wording import headlines

OPTIONS = TableOptions(human="truth", seed_key="key", resamples=200)


def frame(scores: dict[str, np.ndarray]) -> StudyFrame:
    """One task, one run per row of the scores."""
    first = next(iter(scores.values()))
    runs = tuple(
        RunRow(f"p{run}", f"a{run}", f"m{run}", "base", "sums", "sums", 8, run, run, "sums N=8")
        for run in range(len(first))
    )
    infos = tuple(ScorerInfo(name, 1, "higher", 0.0, 1.0, "judge") for name in scores)
    panel = Panel("sums", runs, tuple(str(item) for item in range(first.shape[1])), np.stack(list(scores.values())))
    return StudyFrame(infos, {"sums": panel}, {})


def test_a_judge_that_leaves_the_hard_answers_out_is_compared_on_the_easy_ones() -> None:
    rng = np.random.default_rng(0)
    truth = np.clip(np.linspace(0, 1, 20)[:, None] + rng.normal(0, 0.2, (20, 30)), 0, 1)
    noisy = np.clip(truth + rng.normal(0, 0.3, truth.shape), 0, 1)
    refuses = noisy.copy()
    refuses[:, 15:] = math.nan  # equal where it answers
    (row,) = scorer_pair_rows(frame({"noisy": noisy, "refuses": refuses, "truth": truth}), OPTIONS)
    assert row["difference"] == 0 and row["verdict"] == "undecided"
    assert row["n_common"] == 20 * 15 and {row["n_own"], row["n_against"]} == {20 * 15, 20 * 30}


def test_the_best_scorer_is_named_only_where_it_is_told_apart() -> None:
    rng = np.random.default_rng(1)
    truth = np.linspace(0, 1, 40)[:, None] + np.zeros((40, 10))
    close = [truth + rng.normal(0, 0.05, (40, 1)) for _ in range(2)]
    noise = rng.normal(0.5, 0.3, (40, 1)) + np.zeros((40, 10))
    rows = scorer_pair_rows(frame({"a": close[0], "b": close[1], "noise": noise, "truth": truth}), OPTIONS)
    words = {(row["scorer"], row["against"]): row["verdict"] for row in rows}
    assert sum(word == "better" for word in words.values()) == 2  # a and b against noise, not each other
    lines = headlines({"leaderboard": [], "metaeval": [], "scorer_pairs": rows}, "truth")
    assert "but is not told apart from" in lines[0] and "400 answers that all scorers scored" in lines[0]
    only = scorer_pair_rows(frame({"a": close[0], "noise": noise, "truth": truth}), OPTIONS)
    lines = headlines({"leaderboard": [], "metaeval": [], "scorer_pairs": only}, "truth")
    assert lines[0].startswith("Inside tasks, a orders the runs most like the human column")


def test_equal_scorers_are_seldom_told_apart() -> None:
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=(16, 1)) + np.zeros((16, 2))
        scorers = {name: truth + rng.normal(0, 0.7, (16, 1)) for name in ("a", "b")}
        (row,) = scorer_pair_rows(frame({**scorers, "truth": truth}), OPTIONS)
        found += row["verdict"] == "better"
    assert found <= 18  # 10 expected
