"""Tables of a preference study from artifacts of invented content, as its stages leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from assay.generation.spec import KIND as PREDICTIONS
from assay.generation.spec import PREDICTIONS_FILE
from assay.llm.endpoint import EndpointSpec
from assay.metaeval.preference.columns import COLUMNS
from assay.metaeval.study_tables.build import TableOptions, build_study_tables
from assay.preference.rows import KIND as PAIRS
from assay.preference.rows import PreferenceRow, Prompt, write_rows
from assay.preference.sources import REPORTED_SET
from assay.records import Example, Prediction, ScoreRow, to_table
from assay.reports.page import ReportInput, preference_board, render_report
from assay.reports.preference_findings import preference_findings
from assay.reports.preference_plots import preference_plots
from assay.scoring.jobs import KIND as SCORES
from assay.scoring.jobs import SCORES_FILE, scores_key
from assay.store import Store
from assay.studies.artifacts import Base, EvaluationSet, evaluation_sets, study_artifacts
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.preferences.divergence import FILE, divergence_key
from assay.studies.preferences.divergence import KIND as DIVERGENCE
from assay.studies.preferences.inputs import preference_inputs
from assay.studies.preferences.refereed import FILE as VERDICTS_FILE
from assay.studies.preferences.refereed import KIND as VERDICTS
from assay.studies.preferences.refereed import referee_spec
from assay.studies.preferences.spent import method_costs, paid_for_pairs, spent_on_pairs
from assay.studies.preferences.stage import AfterScores
from assay.studies.preferences.tables import preference_tables
from assay.studies.preferences.wanted import answer_id
from assay.studies.scores import ScoreJobs, score_jobs
from assay.tasks.datasets.preferences import SUMMARY_FILE
from assay.training.run_state import history_table

SMALL = str(Path(__file__).resolve().parents[3] / "jobs" / "studies" / "preference_small.yaml")
OVERRIDES = (
    "grid.methods=[best_of_n, sft_chosen, dpo]",
    "grid.method_tuning={}",
    "grid.seeds=2",
    "grid.frontier=4",
)
ROWS = 24


def rows_of(wanted: EvaluationSet) -> list[Example]:
    return [Example(f"{wanted.name}{n:02d}", "instructions", "test", "ask", "", "answer") for n in range(ROWS)]


def put_predictions(store: Store, key: str, texts: dict[str, str]) -> None:
    rows = [Prediction(name, text, "stop", 4, 3) for name, text in texts.items()]
    with store.writing(PREDICTIONS, key) as artifact:
        artifact.table(PREDICTIONS_FILE, to_table(rows, Prediction))


def score(arm: str, place: int) -> float:
    """Trained models are right more often, at the higher rate above all."""
    gain = 0.0 if arm == "start" else 0.3 if "0.003" in arm else 0.15
    return min(1.0, round(0.2 + 0.02 * place + gain, 6))


@pytest.fixture
def made(tmp_path: Path) -> tuple[AfterScores, ScoreJobs]:
    study = load_study(SMALL, list(OVERRIDES))
    grid = study.grid.preferences
    assert grid is not None
    datasets = {name: f"{number:032x}" for number, name in enumerate(study.data.names)}
    bases = {name: Base(name, f"{number:032x}", "/base") for number, name in enumerate(study.all_models)}
    endpoint = EndpointSpec(name="judge", model="rubric", base_url="http://127.0.0.1:1/v1")
    plan = study_artifacts(study, expand(study), bases, datasets, preference_inputs(study, endpoint))
    sets, store, jobs = evaluation_sets(study, datasets), Store(str(tmp_path)), score_jobs(study, plan, endpoint)
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for run in plan.runs:
        ids = [row.example_id for row in rows_of(sets[run.evaluation_set])]
        words = 2 if run.arm == "start" else 5 if "biased" in run.arm else 3
        put_predictions(store, run.predictions_key, dict.fromkeys(ids, "word " * words))
        known = {name: score(run.arm, place) for place, name in enumerate(ids)}
        scores[run.predictions_key] = {spec.name: known for spec in jobs.specs}
    after = AfterScores(study, grid, store, plan, sets, rows_of, scores)
    put_frontier(after, jobs)
    put_trainings(after)
    return after, jobs


def put_frontier(after: AfterScores, jobs: ScoreJobs) -> None:
    ids = [row.example_id for row in rows_of(after.sets[REPORTED_SET])]
    for samples in after.frontiers().values():
        names = [(name, place) for name in ids for place in range(samples.num)]
        put_predictions(after.store, samples.job.key, {answer_id(*name): "word word" for name in names})
        for spec in jobs.specs:
            rows = [
                ScoreRow(samples.job.key, answer_id(name, place), spec.name, score("start", ids.index(name)), None)
                for name, place in names
            ]
            with after.store.writing(SCORES, scores_key(spec, samples.batch)) as artifact:
                artifact.table(SCORES_FILE, to_table(rows, ScoreRow))


def put_trainings(after: AfterScores) -> None:
    for part in after.plan.pairs:
        rows = [PreferenceRow(f"r{n}", Prompt("ask"), ("a longer one", "short"), (1.0, 0.0)) for n in range(5)]
        with after.store.writing(PAIRS, part.key) as artifact:
            write_rows(artifact, rows)
            artifact.json(SUMMARY_FILE, {"counts": {}, "left_out": {"equal sides": 3}})
    watched = '{"objective/chosen_log_prob":-4.0,"objective/rejected_log_prob":-6.0}'
    step = {"step": 1, "loss": 0.5, "learning_rate": 0.1, "grad_norm": 1.0, "answer_tokens": 9, "validation_loss": None}
    for job in after.plan.trainings:
        with after.store.writing("adapter", job.key) as artifact:
            artifact.json("summary.json", {"num_trained_tokens": 10})
            artifact.table("history.parquet", history_table([{**step, "hooks_json": watched}]))
    for job in after.reported_jobs(after.chosen()):
        ids = [row.example_id for row in rows_of(after.sets[REPORTED_SET])]
        found = [{"example_id": name, "log_prob": -1.0, "start_log_prob": -1.25, "num_tokens": 3} for name in ids]
        with after.store.writing(DIVERGENCE, divergence_key(job)) as artifact:
            artifact.table(FILE, pa.Table.from_pylist(found))


def of(rows: Sequence[dict[str, object]], **wanted: object) -> dict[str, object]:
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def test_every_table_is_made_and_says_what_was_stored(made: tuple[AfterScores, ScoreJobs]) -> None:
    after, jobs = made
    tables = {name: table.to_pylist() for name, table in preference_tables(after, jobs.infos, jobs.specs).items()}
    assert set(tables) == set(COLUMNS)
    arm = of(tables["preference_arms"], pairs="biased", method="dpo")
    assert "0.003" in str(arm["point"])  # the higher rate scores better, by label and bias
    assert (arm["num_runs"], arm["trained_tokens"], arm["sampled_answers"]) == (2, 4 * 10, 8 * 320)
    truth = of(tables["preference_measures"], pairs="plain", method="dpo", measure="truth")
    assert truth["difference"] == pytest.approx(0.3)
    label = of(tables["preference_measures"], pairs="biased", method="dpo", measure="label")
    assert label["difference"] == pytest.approx(0.3 + 0.04 * 3)  # five words against two
    kl = of(tables["preference_measures"], pairs="plain", method="sft_chosen", measure="kl")
    assert kl["value"] == pytest.approx(0.25)
    kept = of(tables["preference_measures"], pairs="plain", method="dpo", measure="toy_arithmetic: truth")
    assert kept["num_items"] == ROWS
    assert of(tables["preference_wins"], pairs="plain", method="dpo", other="sft_chosen")["rate"] == 0.5
    assert of(tables["preference_wins"], pairs="plain", method="dpo", other="start")["rate"] == 1.0
    labels = of(tables["preference_labels"], pairs="plain")
    assert (labels["kind"], labels["line"], labels["left_out"]) == ("sampled", "", '{"equal sides": 3}')
    assert of(tables["preference_training"], pairs="plain", method="dpo")["rejected_log_p"] == -6.0
    assert len(tables["preference_points"]) == 2 * 2 * 2
    equal = of(tables["preference_equal_cost"], pairs="plain", method="dpo")
    assert (equal["prompts"], equal["answers"], equal["verdicts"], equal["n"]) == (320, 8, 0, 8)  # truth asks nobody
    assert equal["reason"] == "best of 8 is beyond the 4 answers of the frontier"


def test_rounds_of_expert_iteration_are_paid_for_each_point_and_seed() -> None:
    overrides = [
        "grid.methods=[sft_chosen, expert_iteration]",
        "grid.method_tuning={}",
        "grid.seeds=2",
        "grid.rounds=3",
    ]
    grid = load_study(
        SMALL, [*overrides, "grid.pairs={rated: {kind: sampled, num: 4, label: pairwise}}"]
    ).grid.preferences
    assert grid is not None
    assert paid_for_pairs(grid, "rated", "sft_chosen") == (4 * 320, 4 * 3 * 320, 0)
    times = 1 + 2 * 2 * 2  # the start's answers once; two further rounds at two points by two seeds
    assert paid_for_pairs(grid, "rated", "expert_iteration") == (4 * 320 * times, 4 * 3 * 320 * times, 0)
    spent = spent_on_pairs(grid, "rated", "expert_iteration")
    assert (spent.answers, spent.verdicts) == (3 * 4, 3 * 12)


def test_the_report_draws_and_lists_them(made: tuple[AfterScores, ScoreJobs]) -> None:
    after, jobs = made
    tables = {name: table.to_pylist() for name, table in preference_tables(after, jobs.infos, jobs.specs).items()}
    names = {plot.name for plot in preference_plots(tables, "truth")}
    assert names == {f"preference_{name}" for name in ("divergence", "label_truth", "wins", "length", "log_probs")}
    boards = preference_board(tables, "truth")
    assert [title for title, _ in boards] == ["tiny, pairs biased", "tiny, pairs plain"]
    assert preference_plots({}, "truth") == [] == preference_board({}, "truth")


def test_the_page_has_a_section_of_its_own(made: tuple[AfterScores, ScoreJobs]) -> None:
    after, jobs = made
    shown = after.shown(after.chosen())
    scores = [
        ScoreRow(run.predictions_key, name, scorer, rating, None)
        for run in shown
        for scorer, known in after.scores[run.predictions_key].items()
        for name, rating in known.items()
    ]
    tables = build_study_tables(shown, scores, jobs.infos, TableOptions("truth", "x", after.study.baseline, 200))
    tables |= preference_tables(after, jobs.infos, jobs.specs)
    arms = tables["preference_arms"].to_pylist()
    first = [key for cell, key in after.plan.cells if cell.arm.startswith("dpo on plain (")]
    costs = method_costs(after.plan, arms, dict.fromkeys(first[:3], 1800.0))
    cost = of(costs, pairs="plain", method="dpo")
    assert (cost["trainings"], cost["timed"], cost["device_hours"]) == (4, 3, 1.5)  # two points, two seeds
    page = render_report(
        ReportInput(
            title="preferences",
            description="",
            mode="strict",
            key="x",
            facts=(),
            notes=after.grid.notes(),
            human="truth",
            curve_scorers=("truth",),
            tables=tables,
            costs=(),
            method_costs=costs,
            browser={"note": "All rows.", "sets": {}},
        )
    ).html.decode()
    findings = preference_findings({name: table.to_pylist() for name, table in tables.items()}, "truth")
    assert [line.split(":")[0] for line in findings] == ["Pairs biased on tiny", "Pairs plain on tiny"]
    for line in findings:
        (best,) = [
            row
            for row in tables["preference_measures"].to_pylist()
            if (row["measure"], row["pairs"]) == ("truth", line.split()[1]) and f"methods {row['method']} has" in line
        ]
        assert f"{best['value']:.3f} by truth" in line
        assert "24 prompts, 2 runs" in line
    assert "preferences on tiny" not in page  # said once, by these
    section = page[page.index('<section id="preferences">') : page.index('<section id="leaderboard">')]
    assert "best of 8 is beyond the 4 answers of the frontier" in section
    assert section.count("<td>learning_rate 0.003</td>") == 2  # sft_chosen has no beta
    assert "undecided, 24 prompts" in section  # invented seeds show no spread, which decides nothing
    assert "&#34;equal sides&#34;: 3" in section
    assert "Every method had 2 tuning points" in page
    assert "1 not timed: found in the store, or killed" in page


def test_a_referees_verdicts_stand_beside_the_human_column(made: tuple[AfterScores, ScoreJobs]) -> None:
    after, jobs = made
    endpoint = EndpointSpec(name="other", model="other", base_url="http://127.0.0.1:1/v1")
    after = replace(after, referee=referee_spec("vanilla", "strict", endpoint))
    unplayed = after.unplayed(after.chosen())
    assert len(unplayed) == 2 * 2 * 2  # sources, methods, seeds
    ids = [row.example_id for row in rows_of(after.sets[REPORTED_SET])]
    for key, match in unplayed.items():
        assert set(after.sides(match).start) == set(ids)
        won = [{"example_id": name, "original": 1, "swapped": 1, "status": "ok"} for name in ids]
        with after.store.writing(VERDICTS, key) as artifact:
            artifact.table(VERDICTS_FILE, pa.Table.from_pylist(won))
    assert not after.unplayed(after.chosen())
    rows = preference_tables(after, jobs.infos, jobs.specs)["preference_measures"].to_pylist()
    row = of(rows, pairs="plain", method="dpo", measure="judged_win_rate")
    assert (row["value"], row["num_items"]) == (1.0, ROWS)
    assert "by other in both orders, the same verdict in both orders in 100% of 48 pairs" in str(row["unit"])


def test_generic_tables_show_the_reported_arms_alone(made: tuple[AfterScores, ScoreJobs]) -> None:
    after, _ = made
    shown = after.shown(after.chosen())
    assert {run.evaluation_set for run in shown} == {"preferences", "toy_arithmetic", "instructions"}
    assert {run.arm for run in shown if run.is_trained} == {part.arm for part in after.chosen()}
    assert len({run.arm for run in shown}) == 1 + 2 * 2
