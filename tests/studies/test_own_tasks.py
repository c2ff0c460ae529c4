"""Tasks of a study file, from the file to keys, prompts, scores, judge calls and the report's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.cli import run_app
from assay.errors import ConfigError, DataError
from assay.mixtures.synthesis import valid_answer
from assay.records import Example, Prediction, Rating
from assay.scoring.jobs import judge_instance, make_batches, score_locally, scores_key
from assay.store import Store
from assay.studies.artifacts import evaluation_sets
from assay.studies.builtin.paper import quickstart
from assay.studies.catalog import load_study
from assay.studies.inputs import check_labels, dataset_keys, store_datasets
from assay.studies.planning.estimate import plan
from assay.studies.results.report_input import notes
from assay.studies.scores import calls_per_row, scorer_specs, study_protocol
from assay.studies.spec import Study
from support.replayed import replay_protocol

TRIAGE: dict[str, Any] = {
    "instruction": "Which team should answer this ticket?",
    "answer": {"format": "label", "labels": ["billing", "shipping", "technical"]},
    "max_new_tokens": 8,
}
MEMO: dict[str, Any] = {"instruction": "Write a memo.", "criteria": "Names owners and dates.", "scale": [1, 5]}
BATCH = make_batches([("p" * 32, "e" * 32)])[0]


def tickets(folder: Path, labels: list[str]) -> None:
    rows = [{"text": f"ticket number {n}", "team": labels[n % len(labels)]} for n in range(300)]
    (folder / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    memos = [{"input": f"Meeting {n}", "output": f"Memo {n}"} for n in range(60)]
    (folder / "memos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in memos))


def study(folder: Path, tasks: dict[str, Any], **changes: Any) -> Study:
    """The quickstart's instruction set with tasks of its own beside it."""
    plain = quickstart().model_dump(mode="json")
    source = {"loader": "jsonl", "split_rule": "strict"}
    sources = {
        "instructions": plain["data"]["sources"]["instructions"],
        "triage": {**source, "path": "tickets.jsonl", "task": "triage", "columns": {"input": "text", "output": "team"}},
        "memo": {**source, "path": "memos.jsonl", "task": "memo"},
    }
    used = {name: sources[name] for name in ("instructions", *tasks) if name in sources}
    grid = {"design": "target", "tasks": list(tasks), "sizes": [0, 8], "draws": 1, "validation_rows": 8}
    fields = {
        "name": "mine",
        "tasks": tasks,
        "data": {"root": str(folder), "sources": used},
        "grid": grid,
        "scorers": ["exact_match", "heuristic", "rouge1", "judge"],
        "statistics": {"human": "heuristic", "resamples": 200},
        "training_seeds_at_zero": [0],
    }
    return Study.model_validate({**plain, **fields, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tickets(tmp_path, ["billing", "shipping", "technical"])
    return tmp_path


def test_two_studies_of_one_process_mean_different_things_by_one_name(folder: Path) -> None:
    one = study(folder, {"triage": TRIAGE})
    other = study(folder, {"triage": {**TRIAGE, "instruction": "Who is it for?", "max_new_tokens": 3}})
    assert one.registry.tasks.get("triage").instruction == TRIAGE["instruction"]
    assert other.registry.tasks.get("triage").instruction == "Who is it for?"
    assert dataset_keys(one)["triage"] != dataset_keys(other)["triage"]
    assert dataset_keys(one)["instructions"] == dataset_keys(other)["instructions"]
    for made, tokens in ((one, 8), (other, 3), (one, 8)):
        keys = dataset_keys(made)
        assert evaluation_sets(made, keys)["triage"].max_new_tokens == tokens
        rows = store_datasets(made, Store(str(folder / "store")), keys).rows("triage")
        assert {row.instruction for row in rows} == {made.registry.tasks.get("triage").instruction}
    assert "triage" not in quickstart().registry.tasks


def test_a_study_without_own_tasks_says_nothing_of_them() -> None:
    assert "tasks" not in quickstart().identity()
    assert all("tasks" not in spec.params for spec in scorer_specs(quickstart()))
    assert study_protocol(quickstart()).identity() == study_protocol(quickstart().replace(tasks={})).identity()


def test_what_shapes_a_number_is_identity_and_nothing_else_moves(folder: Path) -> None:
    def keys(task: dict[str, Any]) -> dict[str, str]:
        made = study(folder, {"triage": task})
        found = {spec.name: scores_key(spec, BATCH) for spec in scorer_specs(made)}
        return {**found, "study": str(made.identity()), "judge": str(study_protocol(made).identity())}

    plain = keys(TRIAGE)
    rule = keys({**TRIAGE, "correct_if": "contains_reference"})
    assert {name for name in plain if plain[name] != rule[name]} == {"heuristic", "exact_match", "study"}
    rated = keys({**TRIAGE, "criteria": "Polite."})
    assert {name for name in plain if plain[name] != rated[name]} == {"judge", "study"}
    longer = keys({**TRIAGE, "max_new_tokens": 9})
    assert {name for name in plain if plain[name] != longer[name]} == {"study"}


def test_a_task_that_no_dataset_in_use_belongs_to_says_nothing(folder: Path) -> None:
    one = study(folder, {"triage": TRIAGE})
    more = one.replace(tasks={**one.model_dump(mode="json")["tasks"], "unused": {"answer": {"format": "json"}}})
    assert more.identity() == one.identity()
    assert scorer_specs(more) == scorer_specs(one)


def test_answers_are_scored_by_the_studys_rule(folder: Path) -> None:
    made = study(folder, {"triage": TRIAGE})
    rows = {name: Example(name, "triage", "test", "i", "x", "billing") for name in "abc"}
    answers = [Prediction("a", "To billing!", "stop", 1, 1), Prediction("b", "shipping", "stop", 1, 1)]
    scorers = [made.registry.scorers.make(spec) for spec in scorer_specs(made) if spec.name == "heuristic"]
    found = score_locally(scorers, "p", answers, rows, made.registry.tasks)
    assert [(row.rating, row.detail) for row in found] == [(1.0, "billing"), (0.0, "shipping")]


def test_a_judge_is_told_the_criteria_of_the_rows_task(folder: Path) -> None:
    made = study(folder, {"triage": TRIAGE, "memo": MEMO})
    protocol = study_protocol(made)
    seen: dict[str, str] = {}
    for task in ("memo", "triage"):
        example = Example("1", task, "test", "Do it.", "x", "gold")

        def ask(call: Any, task: str = task) -> str:
            seen[task] = call.messages[-1].content
            return "4, 10" if task == "triage" else "4"

        outcome = replay_protocol(protocol, judge_instance(example, "an answer"), ask).outcome()
        assert isinstance(outcome, Rating)
        assert outcome.value == {"memo": 0.75, "triage": 0.4}[task]
    assert "Names owners and dates." in seen["memo"]
    assert "Names owners" not in seen["triage"]
    assert calls_per_row(protocol) == 1


def test_own_tasks_are_planned_and_named_in_the_report(folder: Path) -> None:
    made = study(folder, {"triage": TRIAGE, "memo": MEMO})
    assert plan(made).judge_calls > 0
    said = [note for note in notes(made) if note.startswith("Task ")]
    assert len(said) == 2
    assert "chance level 0.333" in said[1]
    assert "label_in_text" in said[1]
    assert "criteria of its own, from 1 to 5" in said[0]


def test_written_rows_are_checked_against_the_format() -> None:
    def own(fields: dict[str, Any]) -> Any:
        return Study.model_validate({**quickstart().model_dump(), "tasks": {"mine": fields}}).registry.tasks.get("mine")

    label = own(TRIAGE)
    assert valid_answer(label, " Billing", "x") == "billing"
    assert valid_answer(label, "sales", "x") is None
    json_task = own({"answer": {"format": "json"}, "correct_if": "json_equal(keys=[a])"})
    assert valid_answer(json_task, {"a": 1, "b": "é"}, "x") == '{"a": 1, "b": "é"}'
    assert valid_answer(json_task, '{"b": 1}', "x") is None
    assert valid_answer(json_task, "text", "x") is None
    integer, number = own({"answer": {"format": "integer"}}), own({"answer": {"format": "number"}})
    assert [valid_answer(task, output, "x") for task in (integer, number) for output in (3, "3.5", "three", True)] == [
        "3", None, None, None, "3", "3.5", None, None,
    ]  # fmt: skip
    assert valid_answer(own({"answer": {"format": "span"}}), "is", "where it is") == "is"


def test_rows_whose_answer_is_no_label_are_counted_and_refused_above_one_percent(tmp_path: Path) -> None:
    def said(labels: list[str]) -> list[str]:
        tickets(tmp_path, labels)
        made = study(tmp_path, {"triage": TRIAGE})
        return check_labels(made, store_datasets(made, Store(str(tmp_path / "store")), dataset_keys(made)))

    three = ["billing", "Shipping ", "technical"]
    assert said(three) == []
    (found,) = said([*three * 50, "sales"])
    assert found.startswith("1 of 300 rows of triage have an answer that is none of the labels ('sales' in row ")
    with pytest.raises(DataError, match=r"data\.sources\.triage: 100 of 300 rows .* expected billing, shipping, tech"):
        said(["billing", "shipping", "sales"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": {"triage": {**TRIAGE, "scorer": "best"}}}, r"tasks\.triage\.scorer: saw 'best'; expected one of"),
        ({"tasks": {"triage": {**TRIAGE, "correct_if": 'regex("(a+)+$")'}}}, "repeats inside repeats"),
        ({"tasks": {"triage": {**TRIAGE, "criteria": "Good."}}, "scorers": ["heuristic"]}, r"tasks\.triage\.criteria"),
        ({"tasks": {"other": TRIAGE}}, "task: saw 'triage'; expected one of"),
        ({"tasks": {"triage": {"answer": {"format": "label", "labels": ["a"]}}}}, "expected two or more"),
    ],
)
def test_bad_tasks_are_one_line(folder: Path, changes: dict[str, Any], said: str, capsys: Any) -> None:
    import yaml

    made = study(folder, {"triage": TRIAGE}).model_dump(mode="json")
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**made, **changes}))
    with pytest.raises(ConfigError, match=said) as caught:
        load_study(str(path))
    assert "\n" not in str(caught.value)


def test_assay_score_knows_a_studys_tasks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    (folder / "mine.yaml").write_text(yaml.safe_dump(study(folder, {"triage": TRIAGE}).model_dump(mode="json")))
    rows = [{"prediction": "billing", "output": "billing"}, {"prediction": "to sales", "output": "shipping"}]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["score", "--predictions", str(folder / "answers.jsonl"), "--scorers", "heuristic,exact_match"]
    out = folder / "out.jsonl"
    assert run_app([*arguments, "--task", "triage", "--study", str(folder / "mine.yaml"), "--out", str(out)]) == 0
    assert [json.loads(line)["heuristic"] for line in out.read_text().splitlines()] == [1.0, 0.0]
    assert run_app([*arguments, "--task", "triage", "--out", str(out)]) == 2
    assert "task: saw 'triage'" in capsys.readouterr().err
