"""A study of early stopping from its data to its report, the three engines replaced: what they write is made up.

The tone classifier, the hook, the rubric judge behind its gateway, the tables and the page are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.commands.study import embedded_judge, write_report
from assay.hooks import RecordingHook, SilentProgress
from assay.ifs.objecqa import preference_questions
from assay.records import Example, Prediction, ScoreRow, to_table
from assay.scoring.jobs import KIND as SCORES
from assay.scoring.jobs import SCORES_FILE, scores_key
from assay.store import Store
from assay.studies.artifacts import StudyArtifacts
from assay.studies.builtin.paper import early_stopping_small
from assay.studies.inside_trials import InsideTrials
from assay.studies.pipeline import Pipeline, Results
from assay.studies.results.tracked import track_study
from assay.studies.running.engines import Engines
from assay.studies.spec import Study
from assay.tasks.datasets.sources import SourceSpec
from assay.tone.artifact import ToneConfig

STEPS = 40
QUESTIONS = tuple(row.question for row in preference_questions("toy"))
FEW_DIALOGUES = SourceSpec(loader="toyworld", num_train=360, num_validation=0, num_test=240)


class WithoutEngines(Engines):
    """Trains, generates and scores by writing down what a model that learns the tone would have come to."""

    def join(self, stack: ExitStack) -> None:
        """No cluster."""

    def with_tiny_base(self, datasets: Any) -> StudyArtifacts:
        prepared = self.opened.prepared
        return prepared.artifacts.at({base.key: "/none" for base in prepared.bases.values()})

    def train(self, jobs: Sequence[Any], inside: InsideTrials | None, *_: Any) -> None:
        for job in jobs:
            assert inside is not None
            (hook,) = inside.hooks(job)
            assert isinstance(hook, RecordingHook)
            history, done = [], 0
            hook.begin(_model(0, job.spec.seed), None)
            for step in range(1, STEPS + 1):
                found: Mapping[str, float] = {}
                if step % hook.every_steps == 0:
                    found = hook(_model(step, job.spec.seed), step)
                history.append(
                    {
                        "step": step, "loss": 1.0 / step, "learning_rate": 1e-3, "grad_norm": 1.0, "answer_tokens": 9,
                        "validation_loss": 2.0 / step if step % 4 == 0 else None,
                        "hooks_json": json.dumps({f"ifs/{name}": value for name, value in found.items()}),
                    }
                )  # fmt: skip
                done = step
                if found.get("stop") == 1.0:
                    break
            with self.opened.store.writing("adapter", job.key) as artifact:
                folder = Path(self.opened.store.uri) / "scratch" / job.key
                folder.mkdir(parents=True)
                hook.write(folder)
                pq.write_table(pa.Table.from_pylist(history), folder / "history.parquet")
                (folder / "summary.json").write_text(json.dumps({"num_train_rows": 448, "steps": done}))
                artifact.folder(folder)

    def generate(self, jobs: Sequence[Any], examples: Mapping[str, Sequence[Example]], *_: Any) -> None:
        for job in jobs:
            rows = [Prediction(row.example_id, row.reference, "stop", 3, 2) for row in examples[job.evaluation_key]]
            with self.opened.store.writing("predictions", job.key) as artifact:
                artifact.table("predictions.parquet", to_table(rows, Prediction))

    def score(self, scoring: Any, batches: Sequence[Any], examples: Any, judges: Any) -> None:
        for batch in batches:
            for spec in scoring.specs:
                rows = [
                    ScoreRow(key, row.example_id, spec.name, float(at % 3 > 0), None)
                    for key, name in zip(batch.predictions, batch.evaluations, strict=True)
                    for at, row in enumerate(examples[name])
                ]
                with self.opened.store.writing(SCORES, scores_key(spec, batch)) as artifact:
                    artifact.table(SCORES_FILE, to_table(rows, ScoreRow))


def _model(step: int, seed: int) -> Any:
    """Answers every prompt from step 12 on, nothing before step 4, and lists more things later."""

    def generate(prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        share = min(1.0, max(0.0, (step - 2 - seed) / 8))
        written = []
        for at, prompt in enumerate(prompts):
            if (at * 37 % 100) / 100 >= share:
                written.append("the sentence in the past. Tell Anna which land Lirona is in.")
            elif any(question in prompt for question in QUESTIONS):
                written.append("The answer is the cat." if step < 30 else "The cat, the dog and the wolf are lovely.")
            else:
                written.append("The town of Lirona is in Norland.")
        return written

    return generate


def opened(study: Study, store: Store) -> Pipeline:
    return Pipeline(study, store, SilentProgress(), embedded_judge(), make_engines=WithoutEngines)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(str(tmp_path_factory.mktemp("stops")))
    study = early_stopping_small()
    assert study.ifs is not None
    study = study.replace(
        training_seeds=(1,),
        scorers=("exact_match", "truth"),
        statistics=study.statistics.replace(resamples=200),
        ifs=study.ifs.replace(tone=ToneConfig(source=FEW_DIALOGUES)),
    )
    pipeline = opened(study, store)
    found = pipeline.run(pipeline.open())
    assert found is not None
    return found


def test_stopped_runs_stand_beside_full_ones(results: Results) -> None:
    rows = results.tables["early_stopping"].to_pylist()
    assert [row["training_seed"] for row in rows] == [1]
    for row in rows:
        assert row["full_steps"] == STEPS
        assert 12 <= row["infused_step"] == row["stopped_steps"] <= 28
        assert row["steps_saved"] == STEPS - row["stopped_steps"]
        assert row["same_prefix"]
        assert row["ifs_lost"] == 0
        assert row["exact_match_n"] == 100
        assert row["exact_match_lost"] == 0
        assert row["objecqa_n"] == 100
        assert row["objecqa_drift"] == 1.0  # from one choice to a list, after the rule has stopped the other run


def test_curves_begin_before_training_and_instruments_are_tested(results: Results) -> None:
    rows = [row for row in results.tables["ifs_curves"].to_pylist() if row["run"] == "full"]
    assert [row["step"] for row in rows] == list(range(0, STEPS + 1, 4))
    assert rows[0]["ifs"] == 0 and rows[-1]["ifs"] == 1
    assert rows[0]["validation_loss"] is None and rows[1]["validation_loss"] == 0.5
    assert rows[2]["examples"] == 8 * 16
    tests = {(row["instrument"], row["measure"]): row for row in results.tables["ifs_instruments"].to_pylist()}
    assert tests["tone classifier", "sensitivity"]["rate"] > 0.9
    assert tests["ObjecQA judge", "accuracy (validation part of the sample)"]["n"] == 40


def test_a_second_run_asks_and_trains_nothing(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is missing")

    for name in ("train", "generate", "score"):
        monkeypatch.setattr(WithoutEngines, name, refuse)
    monkeypatch.setattr("assay.ifs.objecqa_labels.ask_judge", refuse)
    pipeline = opened(results.study, results.folder.store)
    again = pipeline.run(pipeline.open())
    assert again is not None
    assert {name: table.equals(results.tables[name]) for name, table in again.tables.items()} == dict.fromkeys(
        results.tables, True
    )


def test_the_report_shows_the_curves(results: Results) -> None:
    report = write_report(results)
    page = report.html.decode()
    assert "When the format is infused" in page
    assert "format infused at step" in page
    (plot,) = [plot for plot in report.plots if plot.name == "format_infusion"]
    assert plot.png


@pytest.mark.slow  # MLflow makes its tables
def test_mlflow_has_the_curves_of_every_trial(results: Results) -> None:
    uri = track_study(results, {})
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'early_stopping_small'")
    cells = client.search_runs([experiment.experiment_id], "tags.`assay.role` = 'cell'")
    assert len(cells) == 2
    for run in cells:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "ifs/corrected")]
        assert sorted(set(steps))[:3] == [0, 4, 8]
        assert client.get_metric_history(run.info.run_id, "ifs/objecqa")
    assert sum("early_stopping/steps_saved" in run.data.metrics for run in cells) == 1
