"""Files and models of the user's own: Alpaca, ShareGPT and messages rows, a JSONL task, two architectures at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from support.tiny_causal_models import save_tiny_model
from support.tiny_study import PATIENCE_S, Finished, assay, table

pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
COLOURS = ("red", "green", "blue", "yellow", "brown", "black", "white", "grey")
THINGS = ("door", "car", "bird", "house", "cup", "hat", "tree", "book")
GOOD, BAD = ("a warm and funny film", "a joy from start to end"), ("a dull and empty film", "an hour of boredom")


def questions(count: int) -> list[tuple[str, str, str]]:
    """Instruction, input, answer."""
    found = []
    for number in range(count):
        colour, thing = COLOURS[number % 8], THINGS[number // 8 % 8]
        given = f"Text {number}: the {thing} is {colour}."
        found.append(("Which colour is named in the text?", given, f"The text names {colour}."))
    return found


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same instruction rows in three forms, and a task in three files."""
    root = tmp_path_factory.mktemp("data")
    rows = questions(64)
    write_lines(root / "alpaca.jsonl", [{"instruction": a, "input": b, "output": c} for a, b, c in rows])
    talks = [[{"from": "human", "value": f"{a}\n\n{b}"}, {"from": "gpt", "value": c}] for a, b, c in rows]
    write_lines(root / "sharegpt.jsonl", [{"conversations": talk} for talk in talks])
    talks = [
        [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": f"Hello, this is reader {number}."},
            {"role": "assistant", "content": "Hello, what may I read?"},
            {"role": "user", "content": f"{a}\n\n{b}"},
            {"role": "assistant", "content": c},
        ]
        for number, (a, b, c) in enumerate(rows)
    ]
    write_lines(root / "messages.jsonl", [{"messages": talk} for talk in talks])
    for split, count in (("train", 24), ("validation", 8), ("test", 8)):
        reviews = [
            {
                "id": f"{split}-{number}",
                "text": f"Review {number} of {split}: {(GOOD, BAD)[number % 2][number // 2 % 2]}.",
                "verdict": ("positive", "negative")[number % 2],
            }
            for number in range(count)
        ]
        write_lines(root / "reviews" / f"{split}.jsonl", reviews)
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Random weights and a tokenizer trained on the spot, in two architectures that are not Llama."""
    folder = tmp_path_factory.mktemp("models")
    return [save_tiny_model(folder / name, name) for name in ("gpt_neox", "qwen2")]


def study_file(
    folder: Path, bases: Sequence[Path], source: dict[str, object] | None = None, **changes: dict[str, object]
) -> Path:
    """A study of the user's own, as YAML."""
    study: dict[str, object] = {
        "name": "mine",
        "data": {
            "sources": {
                "instructions": {"split_rule": "strict", **(source or {"loader": "alpaca", "path": "alpaca.jsonl"})},
                "sst2": {
                    "loader": "jsonl",
                    "path": "reviews",
                    "task": "sst2",
                    "columns": {"input": "Sentence: {text}", "output": "verdict"},
                },
            }
        },
        "base_models": [str(base) for base in bases],
        "grid": {"tasks": ["sst2"], "sizes": [0, 8], "draws": 1, "instruction_rows": 24, "validation_rows": 2},
        "train": {"lora_rank": 4, "max_steps": 3, "small_batch_size": 8, "max_length": 256, "target_modules": "auto"},
        "generation": {"max_prompt_tokens": 200, "max_model_len": 256},
        "evaluation": {
            "target_rows": 8,
            "instruction_rows": 2,
            "instruction_max_new_tokens": 6,
            "max_new_tokens": {"sst2": 6},
        },
        "scorers": ["exact_match", "rougeL", "heuristic", "judge"],
        "statistics": {"resamples": 200},
        "resources": {"num_cpus": 2},
    }
    for name, fields in changes.items():
        study[name] = {**study[name], **fields}  # type: ignore[dict-item]
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def run(study: Path, data: Path, storage: Path, *further: str) -> Finished:
    return assay("run", str(study), "--set", f"data.root={data}", "--storage", str(storage), *further)


MESSAGES: dict[str, object] = {"loader": "messages", "path": "messages.jsonl"}


@pytest.mark.slow  # test_generation.py runs these architectures through both engines
def test_two_architectures_are_one_axis_of_a_study_on_own_files(data: Path, models: list[Path], tmp_path: Path) -> None:
    ended = run(study_file(tmp_path, models, MESSAGES), data, tmp_path / "runs")
    assert ended.code == 0, ended.err
    rows = table(tmp_path / "runs", "coverage", "mine")
    runs = 2 * (3 + 1)  # bases; three seeds at N = 0, one draw at 8
    for row in rows:
        asked = {"sst2": runs * 8, "instructions": runs * 2}[str(row["evaluation_set"])]
        assert row["num_asked"] == asked
        assert row["num_asked"] == int(str(row["num_scored"])) + sum(json.loads(str(row["unscored"])).values())
    curves = table(tmp_path / "runs", "curves", "mine")
    assert {(row["base_model"], row["num_target"]) for row in curves} == {
        (name, size) for name in ("gpt_neox", "qwen2") for size in (0, 8)
    }
    adapters = list((tmp_path / "runs" / "artifacts" / "adapter").glob("*/adapter_config.json"))
    assert len(adapters) == runs
    targets = {tuple(sorted(json.loads(path.read_text())["target_modules"])) for path in adapters}
    assert len(targets) == 2, "every architecture has layers of its own names"
    assert any("query_key_value" in names for names in targets)


@pytest.mark.parametrize("form", ["alpaca", "sharegpt", "messages"])
def test_the_three_forms_of_instruction_rows_give_the_same_answers_to_learn(
    form: str, data: Path, tmp_path: Path
) -> None:
    study = study_file(
        tmp_path,
        [tmp_path],
        {"loader": form, "path": f"{form}.jsonl"},
        grid={"sizes": [0], "instruction_rows": 20, "validation_rows": 0},
    )
    told = assay("mixtures", str(study), "--set", f"data.root={data}", "--out", str(tmp_path / "out"))
    assert told.code == 0, told.err
    (path,) = (tmp_path / "out").glob("*/train.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 20
    answers = {c: f"{a}\n\n{b}" for a, b, c in questions(64)}
    for row in rows:
        question = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
        colour = question.rsplit(" ", 1)[1].rstrip(".")
        assert row["output"] == f"The text names {colour}."
        assert row["output"] in answers


# --- what is refused -------------------------------------------------------------------------------------------


def refused(study: Path, data: Path, tmp_path: Path) -> str:
    ended = run(study, data, tmp_path / "runs")
    assert ended.code == 2, ended.err
    assert not (tmp_path / "runs" / "artifacts" / "adapter").exists()
    return ended.one_line()


def test_an_unreadable_line_is_named_by_file_and_number(data: Path, models: list[Path], tmp_path: Path) -> None:
    lines = (data / "alpaca.jsonl").read_text().splitlines()
    lines[6] = '{"instruction": "cut off'
    (tmp_path / "broken.jsonl").write_text("\n".join(lines))
    (tmp_path / "reviews").symlink_to(data / "reviews")
    study = study_file(tmp_path, models[:1], {"loader": "alpaca", "path": "broken.jsonl"})
    assert "broken.jsonl:7: " in refused(study, tmp_path, tmp_path)


def test_more_rows_than_a_task_has_are_refused_with_both_numbers(
    data: Path, models: list[Path], tmp_path: Path
) -> None:
    study = study_file(tmp_path, models[:1], grid={"sizes": [0, 100]})
    assert "asks for 100 'sst2' examples but the train split holds 24" in refused(study, data, tmp_path)


def test_a_base_model_without_a_tokenizer_is_refused(data: Path, models: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).symlink_to(models[0] / name)
    assert "saw no tokenizer" in refused(study_file(tmp_path, [bare]), data, tmp_path)


def test_a_gpu_where_there_is_none_is_refused_at_once(data: Path, models: list[Path], tmp_path: Path) -> None:
    from assay.commands.doctor import has_gpu

    if has_gpu():
        pytest.skip("a GPU is here")
    study = study_file(tmp_path, models[:1], resources={"generation": {"gpus_per_engine": 1}})
    assert "asks for 1 GPU; saw none" in refused(study, data, tmp_path)
