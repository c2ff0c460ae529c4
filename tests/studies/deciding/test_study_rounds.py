"""Rounds of a whole study on planted scores in a store: no engine runs, and nothing is wanted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from assay.hooks import SilentProgress
from assay.metaeval.study_tables.build import build_study_tables
from assay.records import Prediction, ScoreRow, to_table
from assay.reports.page import ReportInput, render_report
from assay.scoring.jobs import SCORES_FILE, scores_key
from assay.store import Store
from assay.studies.catalog import load_study
from assay.studies.deciding.parts import store_joined
from assay.studies.deciding.study_rounds import RoundWork, StudyRounds, replayed
from assay.studies.inputs import Datasets, item_counts, store_datasets
from assay.studies.pipeline import Pipeline
from assay.studies.prepared import PreparedStudy, prepare_study
from assay.studies.results.report_input import decision_sections
from assay.studies.scores import stored_scores
from assay.studies.spec import Study
from assay.studies.writer import EmbeddedJudge

TRUTH = {"instructions only": 0.1, "toy_sentiment N=8": 0.5, "toy_sentiment N=16": 0.95}
ROWS = 12


def study(**decide: object) -> Study:
    changes = [
        "grid.tasks=[toy_sentiment]",
        "grid.sizes=[0,8,16]",
        "grid.draws=4",
        "training_seeds_at_zero=[0,1,2,3]",
        f"evaluation.target_rows={ROWS}",
        "evaluation.instruction_rows=4",
        "scorers=[exact_match,truth]",
        "data.sources.toy_sentiment.num_train=40",
        "data.sources.instructions.num_train=60",
    ]
    spend = {"rounds": [2, 3, 4], "items": [4, 8, ROWS]}
    return load_study("quickstart", changes).replace(decide={"scorer": "truth", "spend": spend, **decide})


class Planted:
    """A store in which every wanted prediction gets answers whose scores depend on arm, run and item alone."""

    def __init__(self, folder: Path, asked: Study) -> None:
        self.store = Store(str(folder))
        self.prepared: PreparedStudy = prepare_study(asked, "rubric")
        self.datasets: Datasets = store_datasets(asked, self.store, self.prepared.datasets)
        self.counts: Mapping[str, int] = item_counts(self.prepared.sets, self.datasets)
        self.rows: Counter[tuple[str, str]] = Counter()
        """(adapter, item) -> times that it was answered."""

    def rounds(self) -> StudyRounds:
        return StudyRounds(self.prepared, self.counts)

    def make(self, rounds: StudyRounds, work: RoundWork) -> None:
        """What the engines would do."""
        sets = {part.key: part for one in rounds.sets for part in one.values()}
        runs = {run.predictions_key: run for run in work.plan.runs}
        jobs = {job.key: job for job in work.plan.generations}
        assert set(jobs) == set(runs)
        items = {key: [row.example_id for row in self.datasets.evaluation_rows(part)] for key, part in sets.items()}
        for key, job in jobs.items():
            if self.store.exists("predictions", key):
                continue
            answers = [Prediction(item, "x", "stop", 1, 1) for item in items[job.evaluation_key]]
            self.rows.update((runs[key].adapter_key, item) for item in items[job.evaluation_key])
            with self.store.writing("predictions", key) as writer:
                writer.table("predictions.parquet", to_table(answers, Prediction))
        for wave in work.scoring.waves:
            for batch in wave:
                for spec in work.scoring.specs:
                    rows = [
                        ScoreRow(key, item, spec.name, planted(runs[key].arm, runs[key].adapter_key, item), None, "")
                        for key, evaluation in zip(batch.predictions, batch.evaluations, strict=True)
                        for item in items[evaluation]
                    ]
                    with self.store.writing("scores", scores_key(spec, batch)) as writer:
                        writer.table(SCORES_FILE, to_table(rows, ScoreRow))

    def run(self, most: int = 9) -> StudyRounds:
        rounds = self.rounds()
        while len(rounds.decisions) < most and (work := rounds.begin()) is not None:
            missing = set(work.scoring.keys) - self.store.present("scores", work.scoring.keys)
            if missing:
                self.make(rounds, work)
            rounds.learn(self.store).store(self.store)
        return rounds


def planted(arm: str, adapter: str, item: str) -> float:
    seed = int.from_bytes(f"{adapter}{item}".encode()[-8:], "big") + hash_of(adapter)
    return float(np.random.default_rng(seed % 2**32).random() < TRUTH.get(arm, 0.5))


def hash_of(text: str) -> int:
    return sum(ord(sign) * 31**place for place, sign in enumerate(text[:12]))


def test_every_item_is_answered_once_and_only_the_first_rounds_items_at_first(tmp_path: Path) -> None:
    made = Planted(tmp_path, study())
    first = made.run(most=1)
    adapters = {adapter for adapter, _ in made.rows}
    assert len(adapters) == 6  # two draws of three arms
    assert len(made.rows) == 6 * (4 + 4)  # four of the task's items and the instruction rows
    rounds = made.run()
    assert set(made.rows.values()) == {1}
    assert [one.key for one in rounds.decisions][:1] == [one.key for one in first.decisions]
    if len(rounds.decisions) == 3:
        assert len({item for _, item in made.rows}) == ROWS + 4


def test_a_killed_study_repeats_no_round_and_is_found_again_as_it_was(tmp_path: Path) -> None:
    whole = Planted(tmp_path / "whole", study()).run()
    killed = Planted(tmp_path / "killed", study())
    killed.run(most=1)
    again = killed.run()
    assert [one.content for one in again.decisions] == [one.content for one in whole.decisions]
    assert [one.key for one in again.decisions] == [one.key for one in whole.decisions]
    assert set(killed.rows.values()) == {1}
    found = replayed(killed.prepared, killed.counts, killed.store)
    assert found.plan == again.plan and found.scoring == again.scoring and found.seen_sets == again.seen_sets
    assert killed.store.present("decision", [one.key for one in again.decisions])


def test_answers_of_several_rounds_are_one_run_in_tables_and_report(tmp_path: Path) -> None:
    made = Planted(tmp_path, study(keep=["instructions only"]))
    rounds = made.run()
    store_joined(made.store, rounds.joined.values())
    last = len(rounds.decisions)
    scores = stored_scores(made.store, rounds.scoring)
    keys = {run.predictions_key for run in rounds.plan.runs}
    assert {key for table in scores for key in table.column("predictions_key").to_pylist()} == keys
    target = [run for run in rounds.plan.runs if run.evaluation_set == "toy_sentiment"]
    sizes = {
        made.store.read_table("predictions", run.predictions_key, "predictions.parquet").num_rows for run in target
    }
    assert max(sizes) == rounds.spec.spend.items[last - 1]  # type: ignore[index]
    tables = build_study_tables(
        rounds.plan.runs, scores, rounds.scoring.infos, made.prepared.study.table_options("key")
    )
    assert {row["num_asked"] for row in tables["run_scores"].to_pylist()} == {4, *sizes}
    sections = decision_sections(rounds.decisions[-1].content)
    page = render_report(
        ReportInput(
            "t", "", "strict", "k", [], [], "truth", ["truth"], tables, [], {"note": "", "sets": {}}, decisions=sections
        )
    ).html.decode()
    assert "What was decided" in page and "toy_sentiment on toy, by truth" in page
    assert ("Kept by hand although out: instructions only" in page) == bool(sections[0]["kept"])


def test_without_items_rounds_share_predictions_with_the_whole_grid(tmp_path: Path) -> None:
    asked = study(spend={"rounds": [2, 4]})
    made = Planted(tmp_path, asked)
    rounds = made.run()
    whole = prepare_study(asked.replace(decide=None), "rubric").artifacts
    assert {job.key for job in rounds.plan.generations} <= {job.key for job in whole.generations}
    assert not rounds.scoring.joined and rounds.seen_sets == made.prepared.sets


def test_what_a_study_spends_at_most_is_no_part_of_what_it_is(tmp_path: Path) -> None:
    assert study(max_usd=3.0).identity() == study().identity()
    assert study(keep=["instructions only"]).identity() != study().identity()
    for usd, allowed in ((None, 3.0), (1.0, 1.0), (7.0, 7.0)):
        pipeline = Pipeline(
            study(max_usd=3.0), Store("runs"), SilentProgress(), EmbeddedJudge("rubric", _no_judge), usd
        )
        assert pipeline.budget_usd == allowed
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        study(max_usd=-1)


def _no_judge() -> AbstractContextManager[str]:
    raise AssertionError("no judge is asked here")
