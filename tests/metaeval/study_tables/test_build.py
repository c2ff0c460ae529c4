"""Study tables: what they hold, what they refuse, and that they depend on nothing but the rows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.errors import ConfigError, DataError
from assay.metaeval.study_tables.build import COLUMNS, RunRow, ScorerInfo, StudyTables, TableOptions, build_study_tables
from assay.records import ScoreRow

SCORERS = [
    ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human"),
    ScorerInfo("exact_match", 1, "higher", 0.0, 1.0, "reference"),
    ScorerInfo("judge", 1, "higher", 0.0, 1.0, "judge"),
    ScorerInfo("errors", 1, "lower", 0.0, 1.0, "heuristic"),
]
TASKS = ("sentiment", "sums")
CATEGORIES = {f"instructions-{item}": "Write" if item % 4 else "Code" for item in range(36)}
"""Of 40 instruction rows; four carry none."""


def run_row(task: str, n: int, draw: int, seed: int, evaluation_set: str) -> RunRow:
    adapter = f"adapter-{task}-{n}-{draw}-{seed}"
    arm = f"{task} N={n}" if n else "N=0"
    return RunRow(
        f"{adapter}-{evaluation_set}",
        adapter,
        f"mix-{task}-{n}-{draw}",
        "tiny",
        task,
        evaluation_set,
        n,
        draw,
        seed,
        arm,
    )


def make_runs() -> list[RunRow]:
    runs = [run_row("", 0, -1, seed, name) for seed in range(3) for name in (*TASKS, "instructions")]
    for task in TASKS:
        for n in (8, 32, 64, 256):
            for draw in range(3):
                runs += [run_row(task, n, draw, 0, name) for name in (task, "instructions")]
    return runs


def make_scores(runs: list[RunRow], rng: np.random.Generator, num_items: int = 40) -> list[ScoreRow]:
    rows = []
    for run in runs:
        skill = 0.2 + 0.08 * np.log2(1 + run.num_target) * (run.evaluation_set == run.trained_task)
        skill += 0.03 * rng.normal()
        for item in range(num_items):
            truth = float(np.clip(skill + 0.2 * rng.normal(), 0, 1))
            judged = float(np.clip(truth + 0.1 * rng.normal(), 0, 1))
            key, example = run.predictions_key, f"{run.evaluation_set}-{item}"
            lost = rng.random() < 0.05
            rows += [
                ScoreRow(key, example, "truth", truth, None),
                ScoreRow(key, example, "exact_match", float(truth > 0.5), None),
                ScoreRow(key, example, "judge", None if lost else judged, "unparsable" if lost else None),
                ScoreRow(key, example, "errors", 1 - truth, None),
            ]
    return rows


@pytest.fixture(scope="module")
def study() -> tuple[list[RunRow], list[ScoreRow]]:
    runs = make_runs()
    return runs, make_scores(runs, np.random.default_rng(5))


@pytest.fixture(scope="module")
def tables(study: tuple[list[RunRow], list[ScoreRow]]) -> StudyTables:
    runs, rows = study
    return build_study_tables(
        runs, rows, SCORERS, TableOptions(human="truth", seed_key="k", resamples=400), categories=CATEGORIES
    )


def rows_of(table: pa.Table, **wanted: object) -> list[dict[str, object]]:
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def the_row(table: pa.Table, **wanted: object) -> dict[str, object]:
    (row,) = rows_of(table, **wanted)
    return row


def test_every_documented_table_is_made_with_its_columns(tables: StudyTables) -> None:
    assert set(tables) == set(COLUMNS)
    for name, table in tables.items():
        assert table.column_names == [column.name for column in COLUMNS[name]]
        assert table.num_rows > 0 or name == "series", name  # this study varies nothing beside N


def test_series_meet_at_equal_n_and_holm_counts_them_all() -> None:
    runs, rows, rng = [], [], np.random.default_rng(3)
    for series, level in (("H", 0.7), ("S", 0.5), ("", 0.2)):
        for n in (0,) if not series else (8, 64):
            for draw in range(3):
                key = f"{series}-{n}-{draw}"
                task = "sums" if n else ""
                runs.append(
                    RunRow(key, f"a-{key}", f"m-{key}", "tiny", task, "sums", n, draw, 0, f"{n} {series}", series)
                )
                for item in range(60):
                    score = float(np.clip(level + 0.15 * rng.normal(), 0, 1))
                    rows.append(ScoreRow(key, f"i{item}", "truth", score, None))
    made = build_study_tables(runs, rows, SCORERS[:1], TableOptions(human="truth", seed_key="k", resamples=200))
    found = made["series"].to_pylist()
    assert [(row["num_target"], row["series"], row["against"]) for row in found] == [(8, "H", "S"), (64, "H", "S")]
    for row in found:
        assert row["low"] < 0.2 < row["high"]  # the true difference, give or take the clipping
        assert row["p_holm"] >= row["p"]
    (mean,) = made["set_means"].to_pylist()
    assert (mean["evaluation_set"], mean["num_runs"], mean["num_scored"]) == ("sums", 15, 15 * 60)


def test_a_repeated_judge_has_its_own_variance_in_the_table(
    study: tuple[list[RunRow], list[ScoreRow]], tables: StudyTables
) -> None:
    runs, rows = study
    rng = np.random.default_rng(8)
    means, repeats = [], []
    for row in rows:
        if row.scorer == "judge" and row.rating is not None:
            drawn = row.rating + 0.2 * rng.normal(size=4)
            key = (row.predictions_key, row.example_id, "judge", f"answer of {row.predictions_key}")
            repeats += [(*key, *drew) for drew in enumerate(drawn)]
            row = replace(row, rating=float(drawn.mean()))
        means.append(row)
    columns = zip(*(repeats[place] for place in rng.permutation(len(repeats))), strict=True)
    names = ("predictions_key", "example_id", "scorer", "answer", "repeat", "rating")
    table = pa.table(dict(zip(names, columns, strict=True)))
    made = build_study_tables(
        runs, means, SCORERS, TableOptions(human="truth", seed_key="k", resamples=200), repeats=table
    )
    found = rows_of(made["variance"], scorer="judge", factor="judge_repeat")
    assert found and all(row["variance"] == pytest.approx(0.04, rel=0.15) and row["levels"] == 4 for row in found)
    assert {row["scorer"] for row in rows_of(made["variance"], factor="judge_repeat")} == {"judge"}
    assert not rows_of(tables["variance"], factor="judge_repeat")


def test_where_nothing_is_left_for_a_residual_there_are_no_shares() -> None:
    runs = [run for run in make_runs() if run.draw <= 0 and run.training_seed == 0]  # one draw, one seed
    rows = [row for row in make_scores(runs, np.random.default_rng(2)) if row.scorer in ("truth", "judge")]
    repeats = [
        (row.predictions_key, row.example_id, "judge", row.predictions_key, number, row.rating)
        for row in rows
        for number in range(2)
        if row.scorer == "judge" and row.rating is not None
    ]
    names = ("predictions_key", "example_id", "scorer", "answer", "repeat", "rating")
    table = pa.table(dict(zip(names, zip(*repeats, strict=True), strict=True)))
    made = build_study_tables(
        runs, rows, SCORERS, TableOptions(human="truth", seed_key="k", resamples=200), repeats=table
    )
    found = made["variance"].to_pylist()
    assert {row["factor"] for row in found if row["scorer"] == "judge"} >= {"judge_repeat", "residual"}
    assert all(row["share"] is None for row in found)


def test_tables_do_not_depend_on_the_order_of_rows(
    study: tuple[list[RunRow], list[ScoreRow]], tables: StudyTables
) -> None:
    runs, rows = study
    shuffled = [rows[place] for place in np.random.default_rng(1).permutation(len(rows))]
    again = build_study_tables(
        runs[::-1],
        shuffled,
        SCORERS[::-1],
        TableOptions(human="truth", seed_key="k", resamples=400),
        categories=CATEGORIES,
    )
    for name, table in tables.items():
        first, second = io.BytesIO(), io.BytesIO()
        pq.write_table(table, first)
        pq.write_table(again[name], second)
        assert first.getvalue() == second.getvalue(), name


def test_asked_is_scored_plus_unscored_by_reason(tables: StudyTables) -> None:
    for name in ("coverage", "run_scores"):
        for row in tables[name].to_pylist():
            assert row["num_asked"] == row["num_scored"] + sum(json.loads(row["unscored"]).values())
    assert sum(json.loads(row["unscored"]).get("unparsable", 0) for row in rows_of(tables["coverage"])) > 0


def test_zero_target_rows_start_every_tasks_curve(tables: StudyTables) -> None:
    for task in TASKS:
        points = rows_of(tables["curves"], task=task, scorer="truth")
        assert [row["num_target"] for row in points] == [0, 8, 32, 64, 256]
        assert points[0]["num_draws"] == 0 and points[0]["num_runs"] == 3
        assert points[-1]["low"] > points[0]["high"]
        # the fixture trains all draws with seed 0
        assert [row["unit"] for row in points] == ["items and runs", *["items and draws (one training seed)"] * 4]


def test_curve_mean_is_the_mean_of_its_scored_rows(
    study: tuple[list[RunRow], list[ScoreRow]], tables: StudyTables
) -> None:
    runs, rows = study
    keys = {
        run.predictions_key
        for run in runs
        if run.trained_task == "sums" and run.num_target == 8 and run.evaluation_set == "sums"
    }
    ratings = [
        row.rating for row in rows if row.predictions_key in keys and row.scorer == "judge" and row.rating is not None
    ]
    row = the_row(tables["curves"], task="sums", scorer="judge", num_target=8)
    assert row["mean"] == pytest.approx(np.mean(ratings))
    assert row["num_scored"] == len(ratings)
    assert row["num_unscored"] == 120 - len(ratings)


def test_leaderboard_compares_on_items_that_every_run_has(
    study: tuple[list[RunRow], list[ScoreRow]], tables: StudyTables
) -> None:
    runs, rows = study
    rating = {(row.predictions_key, row.example_id): row.rating for row in rows if row.scorer == "judge"}
    arm = [run.predictions_key for run in runs if run.arm == "sums N=32" and run.evaluation_set == "sums"]
    base = [run.predictions_key for run in runs if run.arm == "N=0" and run.evaluation_set == "sums"]
    items = [f"sums-{item}" for item in range(40)]
    common = [item for item in items if all(rating[key, item] is not None for key in arm + base)]
    means = [np.mean([[rating[key, item] for item in common] for key in keys]) for keys in (arm, base)]
    row = the_row(tables["leaderboard"], evaluation_set="sums", arm="sums N=32", scorer="judge")
    assert row["num_items"] == len(common) and row["num_items_left_out"] == 40 - len(common)
    assert row["difference"] == pytest.approx(means[0] - means[1])
    assert row["low"] < row["difference"] < row["high"]
    assert row["p"] <= row["p_holm"] <= 1 and row["mde"] > 0
    # 4 arms on each task; the 8 on the instruction set are a family of their own
    assert row["family_size"] == 8


def test_the_baseline_stands_on_its_own_board(tables: StudyTables) -> None:
    row = the_row(tables["leaderboard"], evaluation_set="sums", arm="N=0", scorer="truth")
    assert row["is_baseline"] and row["difference"] == 0 and row["rank"] == 5 and row["p"] is None


def test_a_named_baseline_replaces_the_zero_mixture(study: tuple[list[RunRow], list[ScoreRow]]) -> None:
    runs, rows = study
    tables = build_study_tables(
        runs, rows, SCORERS, TableOptions(human="truth", baseline="sums N=64", seed_key="k", resamples=200)
    )
    row = the_row(tables["leaderboard"], evaluation_set="sums", arm="sums N=256", scorer="truth")
    assert row["baseline"] == "sums N=64" and 0 < row["difference"] < 0.4
    row = the_row(tables["leaderboard"], evaluation_set="sentiment", arm="N=0", scorer="truth")
    assert row["difference"] is None and "no run" in row["reason"]


def test_cit_and_cat_use_runs_below_the_limit_only(tables: StudyTables) -> None:
    row = the_row(tables["metaeval"], level="run", scorer="judge", statistic="CIT")
    # per task: 3 runs at N = 0 (shared clusters) and 9 at N = 8, 32, 64
    assert row["n"] == 24 and row["num_clusters"] == 21 and row["num_tasks"] == 2
    assert row["value"] > 0.8 and row["method"] == "jackknife t, 21 clusters"
    tasks = rows_of(tables["metaeval_tasks"], level="run", scorer="judge")
    assert row["value"] == pytest.approx(np.mean([task["value"] for task in tasks]))


def test_tfa_compares_every_series_with_its_own_zero_and_up_to_its_own_largest_n() -> None:
    """Base .1 -> .2 and merged .7 -> .8 at N = 64, another .4 -> .5 at N = 8: .10 each, however many runs it has."""
    runs, rows = [], []
    for series, n, num_draws, level in (
        ("base", 0, 1, 0.1),
        ("base", 64, 2, 0.2),
        ("merged", 0, 1, 0.7),
        ("merged", 8, 3, 0.9),
        ("merged", 64, 3, 0.8),
        ("other", 0, 1, 0.4),
        ("other", 8, 1, 0.5),
    ):
        for draw in range(num_draws):
            key, task = f"{series}-{n}-{draw}", "sums" if n else ""
            runs.append(RunRow(key, f"a-{key}", f"m-{key}", "tiny", task, "sums", n, draw, 0, f"{n} {series}", series))
            rows += [ScoreRow(key, f"i{item}", "truth", level, None) for item in range(20)]
    tables = build_study_tables(runs, rows, SCORERS[:1], TableOptions(human="truth", seed_key="k", resamples=200))
    row = the_row(tables["metaeval"], statistic="TFA_absolute")
    assert row["value"] == pytest.approx(0.10)
    assert row["num_tasks"] == 1
    row = the_row(tables["metaeval"], statistic="TFA_relative")
    assert row["value"] == pytest.approx((0.1 / 0.1 + 0.1 / 0.7 + 0.1 / 0.4) / 3)


def test_a_series_that_repeats_another_is_shown_and_counts_nowhere() -> None:
    rng = np.random.default_rng(9)
    runs, rows = [], []
    for series in ("base", "merged"):
        for n in (0, 8, 64):
            for draw in range(3 if n else 1):
                key, task = f"{series}-{n}-{draw}", "sums" if n else ""
                runs.append(
                    RunRow(key, f"a-{key}", f"m-{key}", "tiny", task, "sums", n, draw, 0, f"N={n} {series}", series)
                )
                for item in range(30):
                    truth = float(np.clip(0.2 + 0.05 * np.log2(1 + n) + 0.2 * rng.normal(), 0, 1))
                    judged = float(np.clip(truth + 0.1 * rng.normal(), 0, 1))
                    rows += [ScoreRow(key, f"i{item}", name, value, None)
                             for name, value in (("truth", truth), ("judge", judged))]  # fmt: skip
    copies = [
        replace(run, predictions_key=f"c-{run.predictions_key}", adapter_key=f"c-{run.adapter_key}",
                arm=f"{run.arm} again", series="stacked", repeats="merged")
        for run in runs if run.series == "merged"
    ]  # fmt: skip
    again = [
        replace(row, predictions_key=f"c-{row.predictions_key}")
        for row in rows
        if row.predictions_key.startswith("merged")
    ]
    scorers = [scorer for scorer in SCORERS if scorer.name in ("truth", "judge")]
    options = TableOptions(human="truth", seed_key="k", resamples=200, below_target=65)
    alone = build_study_tables(runs, rows, scorers, options)
    both = build_study_tables([*runs, *copies], [*rows, *again], scorers, options)
    for name in ("metaeval", "metaeval_tasks", "similarity", "set_means"):
        assert both[name].equals(alone[name]), name
    assert {row["series"] for row in both["curves"].to_pylist()} == {"base", "merged", "stacked"}
    for name in ("leaderboard", "series"):
        shared = [row for row in both[name].to_pylist() if "stacked" not in (row["series"], row.get("against"))]
        assert shared == alone[name].to_pylist(), name
        repeated = [row for row in both[name].to_pylist() if "stacked" in (row["series"], row.get("against"))]
        assert repeated
        assert all(row["p_holm"] is None and "the series merged" in row["reason"] for row in repeated)


def test_a_constant_scorer_is_undefined_with_its_reason(study: tuple[list[RunRow], list[ScoreRow]]) -> None:
    runs, rows = study
    flat = [
        ScoreRow(row.predictions_key, row.example_id, row.scorer, 0.0, None)
        if row.scorer == "exact_match" and "sums" in row.predictions_key
        else row
        for row in rows
    ]
    tables = build_study_tables(runs, flat, SCORERS, TableOptions(human="truth", seed_key="k", resamples=200))
    row = the_row(tables["metaeval"], level="run", scorer="exact_match", statistic="CIT")
    assert row["value"] is None and row["reason"] == "sums: constant scorer column"
    row = the_row(tables["metaeval"], level="run", scorer="exact_match", statistic="CIT_defined")
    assert row["value"] is not None and row["num_tasks"] == 1 and "without sums" in row["reason"]
    row = the_row(tables["metaeval"], level="run", scorer="exact_match", statistic="TFA_relative")
    assert row["value"] is None and "sums (0)" in row["reason"]
    row = the_row(tables["curves"], task="sums", scorer="exact_match", num_target=8)
    # Wilson for 0 of 40: upper end z^2 / (n + z^2) = 3.8415 / 43.8415
    assert (row["low"], row["high"]) == (0.0, pytest.approx(0.087621, abs=1e-5))


def test_similarity_is_a_whole_symmetric_matrix(tables: StudyTables) -> None:
    cells = {
        (row["scorer_a"], row["scorer_b"]): row["value"]
        for row in rows_of(tables["similarity"], level="sample", evaluation_set="*")
    }
    assert len(cells) == 16
    assert all(cells[a, b] == cells[b, a] for a, b in cells)
    assert cells["judge", "judge"] == 1.0


def test_similarity_pools_the_tasks_apart_from_the_instruction_set(tables: StudyTables) -> None:
    # 24 runs of their own task and 3 at N = 0 that answer both; the instruction set adds 27 more rows
    tasks = the_row(tables["similarity"], level="run", evaluation_set="tasks", scorer_a="judge", scorer_b="truth")
    every = the_row(tables["similarity"], level="run", evaluation_set="*", scorer_a="judge", scorer_b="truth")
    assert (tasks["n"], every["n"]) == (30, 57)


def test_instruction_means_are_broken_down_by_category(
    tables: StudyTables, study: tuple[list[RunRow], list[ScoreRow]]
) -> None:
    keys = {run.predictions_key for run in study[0] if run.evaluation_set == "instructions"}
    ratings = [
        row.rating
        for row in study[1]
        if row.predictions_key in keys and row.scorer == "judge" and CATEGORIES.get(row.example_id) == "Code"
    ]
    scored = [rating for rating in ratings if rating is not None]
    row = the_row(tables["category_means"], category="Code", scorer="judge")
    assert row["mean"] == pytest.approx(np.mean(scored))
    assert (row["num_items"], row["num_runs"]) == (9, 27)  # items 0, 4, ..., 32; 3 + 2 tasks x 4 sizes x 3 draws
    assert (row["num_scored"], row["num_unscored"]) == (len(scored), len(ratings) - len(scored))
    assert {row["category"] for row in tables["category_means"].to_pylist()} == {"Code", "Write"}


def test_untagged_instructions_have_no_category_means(study: tuple[list[RunRow], list[ScoreRow]]) -> None:
    made = build_study_tables(*study, SCORERS, TableOptions(human="truth", seed_key="k", resamples=200))
    assert made["category_means"].num_rows == 0


def test_without_an_instruction_set_all_sets_are_the_tasks(study: tuple[list[RunRow], list[ScoreRow]]) -> None:
    runs = [run for run in study[0] if run.evaluation_set != "instructions"]
    kept = {run.predictions_key for run in runs}
    rows = [row for row in study[1] if row.predictions_key in kept]
    tables = build_study_tables(runs, rows, SCORERS, TableOptions(human="truth", seed_key="k", resamples=200))
    assert set(tables["similarity"]["evaluation_set"].to_pylist()) == {*TASKS, "*", "mean"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda rows: [*rows, rows[0]], DataError, "scored twice"),
        (lambda rows: [*rows, ScoreRow("nowhere", "x", "truth", 1.0, None)], DataError, "'nowhere'"),
        (lambda rows: [*rows, ScoreRow(rows[0].predictions_key, "x", "psychic", 1.0, None)], DataError, "'psychic'"),
        (lambda rows: [*rows, ScoreRow(rows[0].predictions_key, "x", "truth", None, None)], DataError, "neither"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    study: tuple[list[RunRow], list[ScoreRow]],
    change: Callable[[list[ScoreRow]], list[ScoreRow]],
    error: type[Exception],
    message: str,
) -> None:
    runs, rows = study
    with pytest.raises(error, match=message):
        build_study_tables(runs, change(rows), SCORERS, TableOptions(human="truth", seed_key="k"))


def test_unknown_names_are_refused_with_the_known_ones(study: tuple[list[RunRow], list[ScoreRow]]) -> None:
    runs, rows = study
    with pytest.raises(ConfigError, match=r"human: saw 'oracle'.*truth"):
        build_study_tables(runs, rows, SCORERS, TableOptions(human="oracle", seed_key="k"))
    with pytest.raises(ConfigError, match=r"baseline: saw 'best'.*'N=0'"):
        build_study_tables(runs, rows, SCORERS, TableOptions(human="truth", baseline="best", seed_key="k"))
    with pytest.raises(ConfigError, match="tfa_tasks: saw 'mnli'"):
        build_study_tables(runs, rows, SCORERS, TableOptions(human="truth", tfa_tasks=("mnli",), seed_key="k"))


def test_an_unfinished_study_still_gives_tables() -> None:
    runs = [run_row("sums", 8, 0, 0, "sums")]
    rows = [ScoreRow(runs[0].predictions_key, "a", "truth", 1.0, None)]
    tables = build_study_tables(runs, rows, SCORERS, TableOptions(human="truth", seed_key="k"))
    assert the_row(tables["leaderboard"], arm="sums N=8")["reason"] == "the baseline has no run on this evaluation set"
    assert the_row(tables["phases"], scorer="truth")["change_point"] is None
    assert build_study_tables([], [], SCORERS, TableOptions(human="truth", seed_key="k"))["curves"].num_rows == 0
