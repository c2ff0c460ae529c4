"""Studies of every design from their data to their report, the three engines replaced: what they write is made up.

Datasets, derived ones too, mixtures, stacks, the rubric judge behind its gateway, tables and pages are the real ones.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from safetensors.numpy import save

from assay.commands.study import embedded_judge, write_report
from assay.commands.tracking import track_command, track_or_say
from assay.errors import ConfigError, InputError, LimitReached
from assay.fingerprint import content_hash
from assay.hooks import SilentProgress
from assay.judge_server.config import Biases
from assay.judge_server.rubric.judge import Rubric
from assay.judge_server.server.exchange import JudgeRequest, content_key
from assay.metaeval.statistics.clustered import GIVEN_MODELS
from assay.records import Example, Prediction, ScoreRow, from_table, to_table
from assay.scoring.jobs import KIND as SCORES
from assay.scoring.jobs import SCORES_FILE, judge_instance, score_locally, score_row, scores_key
from assay.store import Store
from assay.studies.artifacts import MergedBase, StudyArtifacts
from assay.studies.builtin.paper import quickstart
from assay.studies.catalog import load_study
from assay.studies.garbage import find_garbage
from assay.studies.pipeline import Pipeline, Results
from assay.studies.running.engines import Engines
from assay.studies.running.overlap import judges_beside
from assay.studies.scores import study_protocol
from assay.studies.spec import Study
from assay.studies.status import stored_status
from assay.tasks.datasets.loaders import load_examples
from assay.training.checkpoints import Checkpoints, TrialState
from assay.training.spec import stopped_adapter_key
from support.exits_study import NUM_STEPS, exits_study
from support.replayed import replay_protocol
from support.tiny_models import make_tokenizer

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


@dataclass
class WithoutEngines(Engines):
    """Writes down artifacts of the right form for whatever is missing, and remembers in which order."""

    done: list[str] = field(default_factory=list)

    def join(self, stack: ExitStack) -> None:
        """No cluster."""

    def with_tiny_base(self, datasets: Any) -> StudyArtifacts:
        prepared = self.opened.prepared
        return prepared.artifacts.at({base.key: "/none" for base in prepared.bases.values()})

    def merged(self, wanted: Sequence[MergedBase]) -> dict[str, str]:
        for merged in wanted:
            assert self.opened.store.exists("adapter", merged.adapter_key)
        return {merged.key: f"/merged/{merged.key}" for merged in wanted}

    def _places(self, base_key: str) -> tuple[str, ...]:
        """Where a base may lie: given, merged, or trained whole."""
        if self.opened.store.exists("adapter", base_key):
            return (str(self.opened.store.local_dir("adapter", base_key)),)
        return "/none", f"/merged/{base_key}"

    def train(self, jobs: Sequence[Any], *_: Any) -> None:
        rng = np.random.default_rng(0)
        for job in jobs:
            assert self.opened.store.exists("mixture", job.mixture_key)
            assert job.base_path in self._places(job.base_key)
            assert job.start_adapter_key is None or self.opened.store.exists("adapter", job.start_adapter_key)
            rank = job.spec.lora_rank
            weights = {
                f"{LAYER}.lora_A.weight": rng.normal(size=(rank, 4)).astype("f4"),
                f"{LAYER}.lora_B.weight": rng.normal(size=(4, rank)).astype("f4"),
            }
            history = {"step": [1], "loss": [1.0], "learning_rate": [0.1], "grad_norm": [1.0], "validation_loss": [1.0]}
            with self.opened.store.writing("adapter", job.key) as artifact:
                artifact.file("adapter_model.safetensors", save(weights))
                artifact.json("adapter_config.json", {"r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"]})
                artifact.table("history.parquet", pa.table(history))
            self.done.append(f"train {job.labels['arm']}")

    def generate(self, jobs: Sequence[Any], examples: Mapping[str, Sequence[Example]], *_: Any) -> None:
        for job in jobs:
            assert job.adapter_key is None or self.opened.store.exists("adapter", job.adapter_key)
            assert (job.adapter_key is None) == (job.lora_rank == 0)
            assert job.base_path in self._places(job.base_key)
            rows = [Prediction(row.example_id, "certainly", "stop", 3, 2) for row in examples[job.evaluation_key]]
            with self.opened.store.writing("predictions", job.key) as artifact:
                artifact.table("predictions.parquet", to_table(rows, Prediction))

    def score(self, scoring: Any, batches: Sequence[Any], examples: Any, judges: Any) -> None:
        for batch in batches:
            for spec in scoring.specs:
                rows = [
                    ScoreRow(key, row.example_id, spec.name, int(content_hash((key + row.example_id).encode())[:4], 16)
                             % 5 / 4, None)
                    for key, name in zip(batch.predictions, batch.evaluations, strict=True)
                    for row in examples[name]
                ]  # fmt: skip
                with self.opened.store.writing(SCORES, scores_key(spec, batch)) as artifact:
                    artifact.table(SCORES_FILE, to_table(rows, ScoreRow))


def study(name: str, grid: dict[str, object], **more: object) -> Study:
    plain = quickstart().model_dump(mode="json")
    for source in plain["data"]["sources"].values():
        source.update(num_train=120, num_validation=36, num_test=36)
    fields = {
        "name": name,
        "grid": grid,
        "training_seeds_at_zero": [0],
        "scorers": ["exact_match", "judge", "truth"],
        "evaluation": {"target_rows": 20, "instruction_rows": 20, "instruction_max_new_tokens": 8},
        "statistics": {"human": "truth", "resamples": 200},
        "error_rows": 4,
        **more,
    }
    return Study.model_validate({**plain, **fields})


def opened(made: Study, folder: Path, engines: type[WithoutEngines] = WithoutEngines) -> Pipeline:
    return Pipeline(made, Store(str(folder)), SilentProgress(), embedded_judge(), make_engines=engines)


def done(pipeline: Pipeline) -> list[str]:
    assert isinstance(pipeline.engines, WithoutEngines)
    return pipeline.engines.done


def whole(folder: Path, made: Study) -> tuple[Results, str, list[str]]:
    pipeline = opened(made, folder)
    found = pipeline.run(pipeline.open())
    assert found is not None
    order = done(pipeline)
    page = write_report(found).html.decode()
    again = opened(made, folder)
    repeated = again.run(again.open())
    assert repeated is not None
    assert done(again) == []
    assert all(table.equals(repeated.tables[name]) for name, table in found.tables.items())
    assert repeated.errors == found.errors
    return found, page, order


def test_s2_tunes_first_and_serves_stacks(tmp_path: Path) -> None:
    grid = {
        "design": "transfer", "tasks": ["toy_sentiment"], "sizes": [0, 8], "draws": 2, "validation_rows": 8,
        "starts": ["base", "merged", "stacked"], "instruction_validation_rows": 8,
    }  # fmt: skip
    found, page, order = whole(tmp_path, study("s2", grid))
    assert order[0] == "train instruction tuning"
    assert len(order) == 1 + 3 * 2
    stacks = [key for key in found.folder.store.keys("adapter") if found.folder.store.manifest("adapter", key)["spec"]]
    assert len(stacks) == 2
    series = {(row["series"], row["against"], row["num_target"]) for row in found.tables["series"].to_pylist()}
    assert len(series) == 3 * 2  # three pairs at N = 0 and at N = 8
    assert "conditions at equal N" in page
    assert "our IFT, stacked" in page
    assert "What goes wrong" in page


def test_models_trained_whole_answer_as_bases_of_their_own(tmp_path: Path) -> None:
    grid = {
        "design": "transfer", "tasks": ["toy_sentiment"], "sizes": [0, 8], "draws": 1, "validation_rows": 8,
        "starts": ["base", "merged"], "instruction_validation_rows": 8,
    }  # fmt: skip
    train = {**quickstart().model_dump(mode="json")["train"], "method": "full"}
    found, page, order = whole(tmp_path, study("whole", grid, train=train))
    assert order[0] == "train instruction tuning" and len(order) == 3
    plan = found.wanted
    assert not plan.merged  # what was tuned whole is a base already
    assert set(plan.whole) == {job.key for job in (*plan.tunings, *plan.trainings)}
    bases = {job.base_key for job in plan.generations}
    assert set(plan.whole) < bases and len(bases) == 4  # and the base as it is
    assert {job.adapter_key for job in plan.generations} == {None}
    assert found.tables["curves"].num_rows and "our IFT, merged" in page
    with pytest.raises(ValueError, match="'stacked' serves two adapters; expected 'merged'"):
        study("stacked", {**grid, "starts": ["stacked"]}, train=train)
    tuning = {**train, "method": "lora", "target_modules": "auto"}
    with pytest.raises(ValueError, match="target_modules: 'stacked' serves two adapters; expected train's own layers"):
        study(
            "stacked",
            {**grid, "starts": ["base", "stacked"], "instruction_train": tuning},
            train={**train, "method": "lora"},
        )


def test_sources_are_written_and_compared(tmp_path: Path) -> None:
    grid = {
        "design": "sources", "tasks": ["toy_sentiment"], "sizes": [0, 6], "draws": 2, "validation_rows": 8,
        "synthetic_first": 5, "instruction_rows": 20,
    }  # fmt: skip
    data = study("x", {"tasks": ["toy_sentiment"], "sizes": [0]}).data.model_dump(mode="json")
    data["derived"] = {
        "toy_sentiment_synthetic": {"kind": "synthetic", "of": "toy_sentiment", "rows": 12, "shown": 12},
        "toy_sentiment_random": {"kind": "random_labels", "of": "toy_sentiment_synthetic"},
    }
    found, page, order = whole(tmp_path, study("sources", grid, data=data))
    assert len(order) == 1 + 4 * 2
    assert {row["series"] for row in found.tables["curves"].to_pylist()} == {"H", "S", "R", "S+H"}
    assert "Conditions beside each other" in page
    assert any("rows written by rubric" in row["what"] for row in found.costs.rows())


def test_held_out_categories_stand_against_their_own_baselines(tmp_path: Path) -> None:
    grid = {
        "design": "hold_out", "categories": ["Classify", "Rewrite"], "sizes": [0, 4], "draws": 2,
        "validation_rows": 4,
    }  # fmt: skip
    made = study("hold", grid, evaluation={"target_rows": 3, "instruction_max_new_tokens": 8})
    found, page, order = whole(tmp_path, made)
    assert len(order) == 2 * (1 + 2)
    board = found.tables["leaderboard"].to_pylist()
    assert {(row["evaluation_set"], row["baseline"]) for row in board} == {
        ("Classify", "without Classify"), ("Rewrite", "without Rewrite")
    }  # fmt: skip
    assert {row["evaluation_set"] for row in found.tables["set_means"].to_pylist()} == {"Classify", "Rewrite"}
    assert "without Rewrite" in page


def test_a_category_alone_and_the_cross_category_set_are_compared_and_no_point_of_a_curve(tmp_path: Path) -> None:
    grid = {
        "design": "hold_out", "categories": ["Classify", "Rewrite"], "sizes": [0, 4], "draws": 1,
        "validation_rows": 4, "alone": True,
    }  # fmt: skip
    evaluation = {"target_rows": 2, "instruction_max_new_tokens": 8, "cross_category_rows": 1}
    found, page, order = whole(tmp_path, study("alone", grid, evaluation=evaluation))
    assert len(order) == 2 * (1 + 1 + 1)
    board = found.tables["leaderboard"].to_pylist()
    assert {row["arm"] for row in board if row["evaluation_set"] == "Classify"} == {
        "without Classify", "Classify N=4", "Classify only"
    }  # fmt: skip
    only = [row for row in board if row["arm"] == "Classify only" and row["evaluation_set"] == "Classify"]
    assert {row["baseline"] for row in only} == {"without Classify"}
    assert set(found.tables["curves"]["num_target"].to_pylist()) == {0, 4}
    assert len(found.datasets.evaluation_rows(found.sets["instructions"])) == 12
    assert len({row["category"] for row in found.tables["category_means"].to_pylist()}) == 12
    assert "Rewrite only" in page


@pytest.mark.parametrize("share_of", [pytest.param("rows", marks=pytest.mark.slow), "tokens"])
def test_weights_of_rows_or_tokens_make_mixtures_of_one_size(tmp_path: Path, share_of: str) -> None:
    total = {"rows": 60, "tokens": 600}[share_of]
    points = [{"instructions": 1, "toy_sentiment": 1}, {"instructions": 1, "toy_sentiment": 1, "toy_question": 2}]
    grid = {
        "design": "weights", "tasks": ["toy_sentiment", "toy_question"], "total": total, "points": points,
        "share_of": share_of, "validation_rows": 8,
    }  # fmt: skip
    found, page, order = whole(tmp_path, study("weights", grid))
    assert len(order) == 3
    sizes = []
    for key in found.wanted.mixtures:
        train = found.folder.store.read_json("mixture", key, "summary.json")["train"]
        sizes.append(sum(part["rows"] for part in train.values()))
    if share_of == "rows":
        assert sizes == [60, 60, 60]
    assert "Gain against forgetting" in page


def test_a_study_whose_tracking_server_is_down_finishes_and_is_tracked_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    grid = {"tasks": ["toy_sentiment"], "sizes": [0, 8], "draws": 1, "validation_rows": 8}
    made = study("down", grid, tracking={"uri": "http://127.0.0.1:9"}, error_rows=0)
    pipeline = opened(made, tmp_path)
    found = pipeline.run(pipeline.open())
    assert found is not None
    assert track_or_say(found, write_report(found)) == ""
    assert "assay track down --storage" in capsys.readouterr().out
    found.folder.finish(tables=sorted(found.tables), mlflow="")
    assert found.folder.read_tables().keys() == found.tables.keys()
    uri = f"sqlite:///{tmp_path}/other.db"
    for _ in range(2):  # again does no harm
        track_command("down", str(tmp_path), uri)
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("down").experiment_id])
    roles = sorted(run.data.tags["assay.role"] for run in runs)
    assert roles == ["cell", "cell", "metaeval", "study"]
    assert found.folder.done_or_fail()["mlflow"] == uri
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9"):
        track_command("down", str(tmp_path), "http://127.0.0.1:9")


@dataclass
class ScoredHere(WithoutEngines):
    """The scorers are the study's own, in this process; the judge is the rubric, asked without a server."""

    def score(self, scoring: Any, batches: Sequence[Any], examples: Any, judges: Any) -> None:
        registry, protocol = self.opened.study.registry, study_protocol(self.opened.study)
        for batch in batches:
            for spec in scoring.specs:
                rows: list[ScoreRow] = []
                for key, name in zip(batch.predictions, batch.evaluations, strict=True):
                    table = self.opened.store.read_table("predictions", key, "predictions.parquet")
                    answers, by_id = from_table(table, Prediction), {row.example_id: row for row in examples[name]}
                    if spec.kind == "judge":
                        rows += [
                            score_row(spec.name, key, row.example_id, replay_protocol(
                                protocol, judge_instance(by_id[row.example_id], row.prediction), rubric_reply
                            ).outcome())
                            for row in answers
                        ]  # fmt: skip
                    else:
                        rows += score_locally([registry.scorers.make(spec)], key, answers, by_id, registry.tasks)
                with self.opened.store.writing(SCORES, scores_key(spec, batch)) as artifact:
                    artifact.table(SCORES_FILE, to_table(rows, ScoreRow))


def rubric_reply(call: Any) -> str:
    messages = tuple((turn.role, turn.content) for turn in call.messages)
    return Rubric(Biases(), 0).replies(JudgeRequest("m", messages, content_key("m", messages)))[0].text


PLUGIN = """
def shortness(request):
    if request.task.name == "triage" and request.example.reference == "shipping":
        raise LookupError(request.example.example_id)
    return 1 / (1 + len(request.prediction))


def register(registry):
    registry.add_scorer("shortness", shortness)
"""


def test_own_tasks_and_a_plugin_go_through_to_the_report(tmp_path: Path) -> None:
    rows = [{"text": f"ticket {n} of somebody", "team": ("billing", "shipping")[n % 2]} for n in range(300)]
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    memos = [{"input": f"Meeting number {n}", "output": f"Memo {n}"} for n in range(200)]
    (tmp_path / "memos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in memos))
    (tmp_path / "my_parts.py").write_text(PLUGIN)
    plain = quickstart().model_dump(mode="json")["data"]["sources"]["instructions"]
    source = {"loader": "jsonl", "split_rule": "strict"}
    tickets = {**source, "path": "tickets.jsonl", "task": "triage", "columns": {"input": "text", "output": "team"}}
    made = study(
        "own",
        {"tasks": ["triage", "memo"], "sizes": [0, 8], "draws": 2, "validation_rows": 8},
        tasks={
            "triage": {"instruction": "Who?", "answer": {"format": "label", "labels": ["billing", "shipping"]}},
            "memo": {"instruction": "Write it.", "criteria": "Names owners."},
        },
        data={
            "root": str(tmp_path),
            "sources": {
                "instructions": {**plain, "num_train": 60, "num_validation": 36, "num_test": 36},
                "triage": tickets,
                "memo": {**source, "path": "memos.jsonl", "task": "memo"},
            },
        },
        plugins=["my_parts"],
        study_folder=str(tmp_path),
        scorers=["heuristic", "shortness", "judge"],
        statistics={"human": "heuristic", "resamples": 200},
        evaluation={"target_rows": 12, "instruction_rows": 12, "instruction_max_new_tokens": 8},
        error_rows=0,
    )
    pipeline = opened(made, tmp_path / "store", ScoredHere)
    found = pipeline.run(pipeline.open())
    assert found is not None
    page = write_report(found).html.decode()
    assert "Task triage, as the study defines it: answers: billing, shipping; chance level 0.500" in page
    assert "cannot judge by these criteria" in page
    assert "plug-in raised LookupError" in page
    coverage = [row for row in found.tables["coverage"].to_pylist() if row["scorer"] == "judge"]
    assert coverage
    stored = Study.model_validate({**made.model_dump(mode="json"), "study_folder": str(tmp_path)})
    again = opened(stored, tmp_path / "store", ScoredHere)
    assert again.prepared.key == pipeline.prepared.key


@pytest.mark.parametrize("total", [72, {"tokens": 900}])
def test_mixtures_are_compared_in_their_objective_and_say_what_they_took(tmp_path: Path, total: object) -> None:
    grid = {
        "design": "mixture", "total": total,
        "components": {"instructions": {}, "toy_sentiment": {"max_repeats": 2}, "toy_question": {}},
        "points": [{"name": "house", "instructions": 3, "toy_sentiment": 1}],
        "space": {"num": 2, "include": ["vertices"]}, "baseline": "house", "draws": 2, "validation_rows": 6,
    }  # fmt: skip
    sets = {
        "toy_sentiment": {"rows": 10}, "toy_question": {"rows": 10, "weight": 3}, "toy_arithmetic": {"rows": 5},
        "instructions": {"rows": 8, "purpose": "forgetting", "max_new_tokens": 8},
    }  # fmt: skip
    more: dict[str, object] = {}
    if total != 72:  # tokens are counted by the base's own tokenizer
        base = tmp_path / "base"
        make_tokenizer().save_pretrained(base)
        (base / "config.json").write_text('{"model_type": "llama"}')
        (base / "model.safetensors").write_bytes(b"")
        more = {"base_models": [str(base)], "tiny_base": None}
    goal = {"scorer": "truth", "constraint": {"forgetting": 0.9}}
    made = study("mix", grid, evaluation={"sets": sets}, goal=goal, **more)
    found, page, order = whole(tmp_path, made)
    arms = {"house", "natural", "uniform", "sobol 1", "sobol 2", *(f"{name} alone" for name in grid["components"])}  # type: ignore[attr-defined]
    # of rows there are as many of each part, so natural is uniform, and not trained again
    assert len(order) == 2 * (len(arms) - 1 if total == 72 else len(arms))
    board = [row for row in found.tables["objective"].to_pylist() if row["scorer"] == "truth"]
    assert {row["arm"] for row in board} == arms
    means = {row["evaluation_set"]: row["mean"] for row in found.tables["leaderboard"].to_pylist()
             if (row["scorer"], row["arm"]) == ("truth", "uniform")}  # fmt: skip
    uniform = next(row for row in board if row["arm"] == "uniform")
    expected = (means["toy_sentiment"] + 3 * means["toy_question"] + means["toy_arithmetic"]) / 5
    assert uniform["mean"] == pytest.approx(expected)
    assert uniform["num_items"] == 25
    assert uniform["lost_on"] == "instructions"
    assert {row["constraint"] for row in board} <= {"kept", "broken", "not shown"}
    assert [row["is_baseline"] for row in board if row["arm"] == "house"] == [True]
    shares = found.tables["shares"].to_pylist()
    assert len(shares) == 2 * len(arms) * 3
    for arm in arms:
        for draw in range(2):
            part = [row for row in shares if (row["arm"], row["draw"]) == (arm, draw)]
            assert sum(row["share"] for row in part) == pytest.approx(1)
            assert total != 72 or sum(row["num_rows"] for row in part) == 72
    assert "Which shares" in page


def given_answers(folder: Path) -> dict[str, Any]:
    """Fields of a study of three files of answers to 24 toy questions: right, half of them right, and none."""
    source = quickstart().data.sources["toy_sentiment"].replace(num_train=4, num_validation=4, num_test=24)
    rows = [row for row in load_examples(source, None) if row.split == "test"]
    for name, right in (("good", 24), ("half", 12), ("bad", 0)):
        answers = [
            {"id": row.example_id, "response": row.reference if number < right else f"no idea {number}"}
            for number, row in enumerate(rows)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers[: 20 + right]))
    (folder / "losses.jsonl").write_text(
        "".join(json.dumps({"model": name, "loss": loss}) + "\n" for name, loss in LOSSES.items())
    )
    return {
        "name": "given",
        "base_models": [],
        "data": {"root": str(folder), "sources": {"toy_sentiment": source.model_dump(mode="json")}},
        "grid": {
            "design": "models",
            "models": [{"name": name, "answers": f"{name}.jsonl"} for name in ("bad", "half", "good")],
            "losses": "losses.jsonl",
        },
        "evaluation": {"sets": {"toy_sentiment": {"rows": 24}}},
        "scorers": ["exact_match", "judge"],
        "statistics": {"human": "exact_match", "resamples": 200},
    }


LOSSES = {"good": 1.0, "half": 2.0, "bad": 3.0}


def test_models_as_they_are_are_scored_and_ranked_jointly(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump({"extends": "quickstart", **given_answers(tmp_path), "tiny_base": None}))
    made = load_study(str(path))
    assert made.grid.test_losses == LOSSES
    pipeline = opened(made, tmp_path / "store", ScoredHere)
    found = pipeline.run(pipeline.open())
    assert found is not None
    assert found.wanted.trainings == ()
    board = {row["arm"]: row for row in found.tables["objective"].to_pylist() if row["scorer"] == "exact_match"}
    assert {name: row["mean"] for name, row in board.items()} == {"good": 1.0, "half": 0.5, "bad": 0.0}
    assert board["bad"]["is_baseline"]
    assert board["half"]["verdict"] == board["good"]["verdict"] == "better"
    assert (board["good"]["num_items"], board["good"]["num_items_left_out"], board["good"]["unit"]) == (
        20,
        4,
        GIVEN_MODELS,
    )
    ranked = sorted(found.tables["ranking"].to_pylist(), key=lambda row: row["rank"])
    assert [row["arm"] for row in ranked] == ["good", "half", "bad"]
    assert [row["num_without_answer"] for row in ranked] == [0, 0, 4]
    assert all(row["low"] < row["value"] < row["high"] for row in ranked)
    (line,) = found.tables["loss_line"].to_pylist()
    assert (line["spearman"], line["num_models"]) == (-1.0, 3)
    page = write_report(found).html.decode()
    for said in ("How the judge ranks the models", "Judged score against test loss", "Nothing was trained: 3 models"):
        assert said in page
    assert "Learning curves" not in page
    again = opened(made, tmp_path / "store", ScoredHere)
    repeated = again.run(again.open())
    assert repeated is not None
    assert all(table.equals(repeated.tables[name]) for name, table in found.tables.items())
    told = {row["stage"]: row["what"] for row in repeated.costs.rows()}
    assert "48 calls, 48 from the ledger" in told["rank"]


def test_models_as_they_are_are_ranked_by_wins_over_one_of_them(tmp_path: Path) -> None:
    fields = given_answers(tmp_path)
    fields["grid"] = {**fields["grid"], "losses": {}, "baseline": "half", "rank": {"protocol": "vanilla"}}
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump({"extends": "quickstart", **fields, "tiny_base": None}))
    pipeline = opened(load_study(str(path)), tmp_path / "store", ScoredHere)
    found = pipeline.run(pipeline.open())
    assert found is not None
    rows = {row["arm"]: row for row in found.tables["ranking"].to_pylist()}
    assert rows.keys() == {"good", "bad"}
    assert {row["baseline"] for row in rows.values()} == {"half"}
    assert rows["good"]["value"] > 0.5 > rows["bad"]["value"]
    assert (rows["good"]["rank"], rows["bad"]["rank"], rows["bad"]["num_asked"]) == (1, 2, 20)
    assert "loss_line" not in found.tables
    assert "Each model against half by vanilla" in write_report(found).html.decode()


def test_two_names_for_one_model_are_refused(tmp_path: Path) -> None:
    fields = given_answers(tmp_path)
    fields["grid"]["models"].append({"name": "twin", "answers": "good.jsonl"})
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump({"extends": "quickstart", **fields, "tiny_base": None}))
    pipeline = opened(load_study(str(path)), tmp_path / "store", ScoredHere)
    with pytest.raises(ConfigError, match="saw 'twin' and 'good', whose files or endpoint are the same"):
        pipeline.open()


PATIENCE_S = 60
"""For the other side of an overlap, which comes at once or never."""


@dataclass
class WithJudges(WithoutEngines):
    """Engines on so many CPUs, whose judge works on CPUs of its own where it may: then each waits for the other."""

    cpus: int = 4
    beside: list[str] = field(default_factory=list)
    trains: threading.Event = field(default_factory=threading.Event)
    has_judged: threading.Event = field(default_factory=threading.Event)

    def num_beside(self, judge: Any) -> int:
        return judges_beside(1, 1.0, self.cpus)

    @contextmanager
    def room_beside(self, judge: Any) -> Iterator[Any]:
        self.beside.append("judge and training")
        yield judge

    def train(self, jobs: Sequence[Any], inside: Any = None, stop: Any = None) -> None:
        if stop is not None:
            self.trains.set()
            assert self.has_judged.wait(PATIENCE_S), "the judge waits for the training"
        super().train(jobs)

    def score(self, scoring: Any, batches: Sequence[Any], examples: Any, judges: Any, progress: Any = None) -> None:
        if progress is not None:
            assert self.trains.wait(PATIENCE_S), "the training waits for the judge"
        asked = [*(spec.name for spec in scoring.local[:1]), *(judge.spec.name for judge in judges)]
        super().score(replace(scoring, judge=judges[0].spec if judges else None), batches, examples, judges)
        self.done.append("score " + " ".join(asked))
        if progress is not None:
            self.has_judged.set()


@dataclass
class OnThree(WithJudges):
    cpus: int = 3


def judged_in_waves(folder: Path, engines: type[WithJudges], **more: Any) -> Pipeline:
    grid = {"tasks": ["toy_sentiment"], "sizes": [0, 8], "draws": 2, "validation_rows": 8}
    made = study("waves", grid, resources={"wave_size": 2}, error_rows=0, **more)
    return opened(made, folder, engines)


def test_the_judge_works_while_the_next_wave_trains_where_there_are_four_cpus(tmp_path: Path) -> None:
    found = {}
    for engines in (WithJudges, OnThree):
        pipeline = judged_in_waves(tmp_path / engines.__name__, engines)
        results = pipeline.run(pipeline.open())
        assert results is not None and isinstance(pipeline.engines, WithJudges)
        found[engines] = results
        order = [said if said.startswith("score") else "train" for said in done(pipeline)]
        if engines is OnThree:
            assert pipeline.engines.beside == []
            assert order == ["train", "train", "score exact_match judge", "train", "score exact_match judge"]
        else:
            assert pipeline.engines.beside == ["judge and training"]
            # what needs no judge is scored at once; the last wave has none that trains beside it
            assert order == [
                "train", "train", "score exact_match", "score judge", "train", "score exact_match judge"
            ]  # fmt: skip
        again = judged_in_waves(tmp_path / engines.__name__, engines)
        assert again.run(again.open()) is not None and done(again) == []
    four, three = found[WithJudges], found[OnThree]
    assert four.scoring.keys == three.scoring.keys
    assert all(table.equals(three.tables[name]) for name, table in four.tables.items())


@dataclass
class Spent(WithJudges):
    """A judge whose budget ends while the next wave trains."""

    def train(self, jobs: Sequence[Any], inside: Any = None, stop: Any = None) -> None:
        if stop is not None:
            self.trains.set()
            clock = threading.Event()
            while not stop():
                clock.wait(0.01)
            raise LimitReached("training: stopped")
        super().train(jobs)

    def score(self, scoring: Any, batches: Sequence[Any], examples: Any, judges: Any, progress: Any = None) -> None:
        if progress is not None:
            assert self.trains.wait(PATIENCE_S)
            raise LimitReached("budget: 1 dollar is spent")
        super().score(scoring, batches, examples, judges)


def test_a_budget_that_ends_beside_a_training_stops_it_and_the_next_run_goes_on(tmp_path: Path) -> None:
    stopped = judged_in_waves(tmp_path, Spent)
    with pytest.raises(LimitReached, match="budget: 1 dollar"):
        stopped.run(stopped.open())
    assert len([said for said in done(stopped) if said.startswith("train")]) == 2
    pipeline = judged_in_waves(tmp_path, WithJudges)
    results = pipeline.run(pipeline.open())
    assert results is not None
    assert [said for said in done(pipeline) if said.startswith("score")] == [
        "score exact_match", "score judge", "score exact_match judge"
    ]  # fmt: skip


@dataclass
class Losing(WithoutEngines):
    """Trainings whose validation losses are made up: an arm of misjoined rows alone is far behind."""

    def with_tiny_base(self, datasets: Any) -> StudyArtifacts:
        return self.opened.prepared.artifacts

    def _places(self, base_key: str) -> tuple[str, ...]:
        return tuple(base.path for base in self.opened.prepared.bases.values())

    def train(self, jobs: Sequence[Any], *_: Any) -> None:
        store = self.opened.store
        for job in jobs:
            assert not store.present("adapter", job.kept_under) and job.base_path in self._places(job.base_key)
            steps, floor = job.hold_at or NUM_STEPS, 3.0 if job.labels["arm"] == "misjoined" else 1.0
            Checkpoints(store, job.key).clear()
            if job.hold_at:
                Checkpoints(store, job.key).save(TrialState(steps, {}))
            history = {"step": range(1, steps + 1), "validation_loss": [floor + 0.1 / (i + 1) for i in range(steps)]}
            others = {name: [1.0] * steps for name in ("loss", "learning_rate", "grad_norm")}
            with store.writing("adapter", job.kept_under[-1]) as artifact:
                artifact.table("history.parquet", pa.table({**history, **others}))
                artifact.json("summary.json", {"steps": steps, "planned_steps": NUM_STEPS})
            self.done.append(f"{job.labels['arm']} to {steps}")


def test_losing_trainings_end_at_a_barrier_and_the_others_go_on(tmp_path: Path) -> None:
    made, store = load_study(exits_study(tmp_path)), Store(str(tmp_path / "store"))
    assert made.exits is not None
    pipeline = opened(made, tmp_path / "store", Losing)
    found = pipeline.run(pipeline.open())
    assert found is not None
    first = [f"{arm} to 3" for arm in ("misjoined", "natural", "right", "uniform") for _ in range(2)]
    second = [said.replace("3", "6") for said in first if said != "misjoined to 3"]
    # natural and uniform are the same rows: held as two, the rest of the way is gone once
    third = [f"{arm} to 12" for arm in ("right", "uniform") for _ in range(2)]
    order = done(pipeline)
    assert [sorted(part) for part in (order[:8], order[8:14])] == [first, second]
    assert len(order[14:]) == len(third) and set(order[14:]) <= {"right to 12", "uniform to 12", "natural to 12"}
    assert not store.keys("checkpoint")
    ended = found.tables["exits"].to_pylist()
    assert [(row["arm"], row["step"], row["planned_steps"]) for row in ended] == [("misjoined", 3, NUM_STEPS)] * 2
    assert {run.arm for run in found.wanted.runs} == {"natural", "right", "uniform"}
    assert {row["arm"] for row in found.tables["shares"].to_pylist()} == {"natural", "right", "uniform"}
    page = write_report(found).html.decode()
    assert "misjoined ended after 3 of 12 steps" in page and "<b>2</b><span>ended early</span>" in page

    told = stored_status(store, found.folder.name)
    assert told is not None and len(told["decisions"]) == 2 and "misjoined ended" in told["decisions"][0]
    counts = {row["stage"]: (row["done"], row["wanted"]) for row in told["stages"]}
    assert counts["trainings"] == (8, 8) and counts["predictions"] == (6, 6)
    kept = {artifact.key for artifact in find_garbage(store, now_s=1e12, min_age_s=1.0).unwanted}
    held = {stopped_adapter_key(key, step) for key in _trained(found) for step in (3, 6)}
    assert kept == held  # of those that went on; what ended stays

    again = opened(made, tmp_path / "store", Losing)
    repeated = again.run(again.open())
    assert repeated is not None and done(again) == []
    assert all(table.equals(repeated.tables[name]) for name, table in found.tables.items())
    repeated.folder.finish(tables=sorted(repeated.tables), mlflow="")
    reader = opened(made, tmp_path / "store", Losing)
    read = reader.stored(reader.open())
    assert read.exits == found.exits and read.wanted == repeated.wanted and read.scoring == found.scoring

    whole_grid = opened(made.replace(exits=None, name="whole"), tmp_path / "store", Losing)
    assert whole_grid.run(whole_grid.open()) is not None
    assert done(whole_grid) == ["misjoined to 12"] * 2


def _trained(found: Results) -> list[str]:
    return [job.key for job in found.wanted.trainings]
