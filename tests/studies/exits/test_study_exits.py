"""Barriers of a whole study on planted losses in a store: no engine runs, and what ended is in no result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from assay.errors import ConfigError, StageError
from assay.metaeval.study_tables.build import RunRow, build_study_tables
from assay.mixtures.sampling import MixtureBuilder, store_mixture
from assay.records import ScoreRow
from assay.reports.page import ReportInput, render_report
from assay.store import Store
from assay.studies.catalog import load_study
from assay.studies.exits.stored import without_ended
from assay.studies.exits.study_exits import StudyExits
from assay.studies.exits.wording import exit_lines, exit_sections, exits_table
from assay.studies.folder import EXITS, open_folder
from assay.studies.inputs import store_datasets
from assay.studies.prepared import PreparedStudy, prepare_study
from assay.studies.scores import score_jobs
from assay.studies.spec import Study
from assay.training.run_state import HISTORY, SUMMARY, history_table
from assay.training.schedule import schedule_of
from assay.training.spec import ADAPTER_KIND, TrainingJob, stopped_adapter_key

FLOORS = {"toy_sentiment N=8": 3.0, "toy_sentiment N=16": 1.0, "toy_sentiment N=64": 1.04, "toy_sentiment N=32": 1.9}
LOSER = "toy_sentiment N=8"
SETS = ("toy_sentiment", "instructions")


def study(sizes: Sequence[int] = (0, 8, 16, 64), *overrides: str, exits: str = "{at: [0.3, 0.6], credit: 0}") -> Study:
    changes = [
        "grid.tasks=[toy_sentiment]",
        f"grid.sizes={list(sizes)}",
        "grid.draws=2",
        "grid.target_validation_rows=8",
        "train.eval_every=1",
        "evaluation.target_rows=12",
        "evaluation.instruction_rows=4",
        "scorers=[exact_match,truth]",
        "statistics.resamples=200",
        "data.sources.instructions.num_train=60",
        "data.sources.toy_sentiment.num_train=100",
        f"exits={exits}",
        *overrides,
    ]
    return load_study("quickstart", changes)


class Planted:
    """A store in which trainings have curves that depend on arm, draw and step alone."""

    def __init__(self, folder: Path, asked: Study) -> None:
        self.store = Store(str(folder))
        self.prepared: PreparedStudy = prepare_study(asked, "rubric")
        datasets = store_datasets(asked, self.store, self.prepared.datasets)
        builder = MixtureBuilder(datasets.by_name(), datasets.keys)
        self.rows = {}
        for key, spec in self.prepared.artifacts.mixtures.items():
            mixture = builder.build(spec)
            store_mixture(self.store, mixture, spec)
            self.rows[key] = len(mixture.train)
        self.steps = 0
        """Trained in all."""

    def rows_of(self, arm: str) -> int:
        (rows,) = {self.rows[job.mixture_key] for job in self.prepared.artifacts.trainings if job.labels["arm"] == arm}
        return rows

    def train(self, job: TrainingJob) -> None:
        """What the sweep would do."""
        if self.store.present(ADAPTER_KIND, job.kept_under):
            return
        plan = schedule_of(job.spec, self.rows[job.mixture_key])
        steps = job.hold_at or plan.total_steps
        self.steps += steps
        history = [
            {
                "step": step,
                "loss": 1.0,
                "learning_rate": 1.0,
                "grad_norm": 1.0,
                "answer_tokens": 1,
                "validation_loss": loss_of(job, step),
                "hooks_json": "{}",
            }
            for step in range(1, steps + 1)
        ]
        with self.store.writing(ADAPTER_KIND, job.kept_under[-1]) as writer:
            writer.table(HISTORY, history_table(history))
            writer.json(SUMMARY, {"steps": steps, "planned_steps": plan.total_steps})

    def run(self, most: int = 9, kill_after: int = 10**6) -> StudyExits:
        exits = StudyExits(self.prepared, self.store)
        while not exits.is_over and len(exits.decisions) < most:
            for number, job in enumerate(sorted(exits.wanted(), key=lambda job: job.key)):
                if number >= kill_after:
                    return exits
                self.train(job)
            exits.learn().store(self.store)
        return exits


def loss_of(job: TrainingJob, step: int) -> float:
    floor = FLOORS.get(job.labels["arm"], 2.0)
    luck = int(hashlib.sha256(f"{job.key}{step}".encode()).hexdigest()[:4], 16) / 2**16
    return floor + 0.5 / step + 0.002 * luck


def test_losers_end_at_the_first_barrier_and_nobody_waits_for_them_again(tmp_path: Path) -> None:
    made = Planted(tmp_path, study())
    exits = made.run()
    first, second = (one.content["families"] for one in exits.decisions)
    assert [set(family["ended"]) for family in first] == [{LOSER}]
    # N = 0 has no target rows to validate on, so it is compared with nobody
    assert set(first[0]["seen"]) == {arm for arm in FLOORS if arm != "toy_sentiment N=32"}
    assert set(second[0]["seen"]) == {"toy_sentiment N=16", "toy_sentiment N=64"}
    of_loser = {key for cell, key in made.prepared.artifacts.cells if cell.arm == LOSER}
    assert set(exits.ended) == of_loser and len(of_loser) == 2
    # batch 16, 4 epochs, a validation at each step; some of the 60 instruction rows repeat others
    steps = 4 * -(-made.rows_of(LOSER) // 16)
    barrier = int(0.3 * steps)
    assert set(exits.ended.values()) == {stopped_adapter_key(key, barrier) for key in of_loser}
    rows = exits_table(exits.record).to_pylist()
    assert {(row["arm"], row["step"], row["planned_steps"], row["leader"]) for row in rows} == {
        (LOSER, barrier, steps, "toy_sentiment N=16")
    }
    lines = exit_lines(exits.record)
    assert len(lines) == 2 and f"{LOSER} ended after {barrier} of {steps} steps: loss 3." in lines[0]
    assert lines[1].startswith("toy_sentiment on toy, at 0.6 of the steps") and lines[1].endswith("nobody ended")


def test_a_killed_study_comes_to_the_same_decisions(tmp_path: Path) -> None:
    whole, killed = Planted(tmp_path / "whole", study()), Planted(tmp_path / "killed", study())
    expected = whole.run()
    for most, kill_after in ((1, 0), (1, 3), (1, 99), (2, 1)):
        killed.run(most, kill_after)
    found = killed.run()
    assert [one.content for one in found.decisions] == [one.content for one in expected.decisions]
    assert [one.key for one in found.decisions] == [one.key for one in expected.decisions]
    assert killed.steps == whole.steps  # nothing was trained twice
    assert killed.store.keys("decision") == {one.key for one in found.decisions}


def test_trainings_that_are_there_whole_say_what_held_ones_say(tmp_path: Path) -> None:
    held, whole = Planted(tmp_path / "held", study()), Planted(tmp_path / "whole", study())
    for job in whole.prepared.artifacts.trainings:
        whole.train(job)
    steps = whole.steps
    expected, found = held.run(), whole.run()
    assert whole.steps == steps and held.steps < steps
    assert [one.key for one in found.decisions] == [one.key for one in expected.decisions]
    assert set(found.ended) == set(expected.ended) and all(key == kept for key, kept in found.ended.items())


def test_with_two_arms_left_of_which_one_may_end_barriers_go_on(tmp_path: Path) -> None:
    made = Planted(tmp_path, study((8, 16)))
    exits = made.run()
    assert [len(one.content["families"]) for one in exits.decisions] == [1, 0]
    assert len(exits.ended) == 2


def score_rows(runs: Sequence[RunRow], scorers: Sequence[str]) -> Iterator[ScoreRow]:
    for run in runs:
        for item in range(8):
            for scorer in scorers:
                seed = f"{run.adapter_key}{run.evaluation_set}{item}{scorer if item > 3 else ''}"
                right = int(hashlib.sha256(seed.encode()).hexdigest()[:4], 16) % 3 > 0
                yield ScoreRow(run.predictions_key, f"item {item}", scorer, float(right), None, "")


def test_ended_arms_are_in_no_result_table(tmp_path: Path) -> None:
    made = Planted(tmp_path, study())
    left = made.prepared.without(made.run().ended)
    never = prepare_study(study((0, 16, 64), exits="null"), "rubric")
    tables = []
    for one in (left, never):
        runs, infos = one.artifacts.runs, one.scoring.infos
        scores = list(score_rows(runs, [info.name for info in infos]))
        options = study((0, 16, 64), exits="null").table_options("key")
        tables.append(build_study_tables(runs, scores, infos, options))
    assert LOSER not in {run.arm for run in left.artifacts.runs}
    # CIT, CAT and TFA among them: as if nobody had ever asked for that arm
    assert tables[0].keys() == tables[1].keys()
    for name in tables[0]:
        assert tables[0][name].equals(tables[1][name]), name
    assert left.scoring == score_jobs(left.study, left.artifacts, left.endpoint)


def test_the_report_marks_what_ended(tmp_path: Path) -> None:
    made = Planted(tmp_path, study())
    exits = made.run()
    left = made.prepared.without(exits.ended)
    runs, infos = left.artifacts.runs, left.scoring.infos
    scores = list(score_rows(runs, [info.name for info in infos]))
    tables = build_study_tables(runs, scores, infos, made.prepared.study.table_options("key"))
    content = (["truth"], {**tables, "exits": exits_table(exits.record)}, [], {"note": "", "sets": {}})
    sections = exit_sections(json.loads(json.dumps(exits.record)))
    assert sections is not None
    saved = sum(row["planned_steps"] - row["step"] for row in exits_table(exits.record).to_pylist())
    page = render_report(ReportInput("t", "", "strict", "k", [], [], "truth", *content, exits=sections)).html.decode()
    assert (
        "What ended early" in page and f"<td>{LOSER}</td>" in page and f"2 trainings, up to {saved} optimizer" in page
    )
    plain = render_report(ReportInput("t", "", "strict", "k", [], [], "truth", *content)).html.decode()
    assert "What ended early" not in plain


def test_whoever_reads_a_study_finds_it_without_what_ended(tmp_path: Path) -> None:
    made = Planted(tmp_path, study())
    exits = made.run()
    assert without_ended(made.prepared, made.store) is made.prepared  # nothing is decided yet
    folder = open_folder(made.store, made.prepared.study.name, made.prepared.key, {})
    made.store.write_study_json(folder.name, EXITS, exits.record)
    arms = {run.arm for run in without_ended(made.prepared, made.store).artifacts.runs}
    assert LOSER not in arms and "toy_sentiment N=16" in arms


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    alone = Planted(tmp_path / "alone", study((0, 8)))
    with pytest.raises(ConfigError, match="no two arms"):
        _ = StudyExits(alone.prepared, alone.store).comparisons
    rare = Planted(tmp_path / "rare", study((8, 16), "train.eval_every=7"))
    with pytest.raises(ConfigError, match=r"exits.at: 0.3 of the \d+ steps of 'toy_sentiment N=16'"):
        _ = StudyExits(rare.prepared, rare.store).comparisons


def test_a_training_of_another_length_is_no_evidence(tmp_path: Path) -> None:
    made = Planted(tmp_path, study((8, 16)))
    exits = StudyExits(made.prepared, made.store)
    for job in exits.wanted():
        made.train(job)
    job = next(iter(exits.wanted()))
    made.store.delete(ADAPTER_KIND, job.kept_under[-1])
    made.train(replace(job, spec=job.spec.replace(num_epochs=2)))
    with pytest.raises(StageError, match=r"was to take \d+ steps; expected \d+, by the rows of its mixture"):
        exits.learn()
