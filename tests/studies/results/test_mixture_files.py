"""The mixtures of a study as files, derived datasets included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.studies.builtin.paper import quickstart
from assay.studies.results.mixture_files import write_mixtures
from assay.studies.spec import Study


def small(**changes: object) -> Study:
    plain = quickstart().model_dump(mode="json")
    for source in plain["data"]["sources"].values():
        source.update(num_train=60, num_validation=24, num_test=12)
    return Study.model_validate({**plain, "training_seeds_at_zero": [], **changes})


def test_every_distinct_mixture_is_a_folder_with_provenance(tmp_path: Path) -> None:
    grid = {"tasks": ["toy_sentiment", "toy_question"], "sizes": [0, 5], "draws": 2, "validation_rows": 8}
    listed = write_mixtures(small(grid=grid), tmp_path)
    assert [entry["folder"] for entry in listed] == [
        "instructions_only",
        "toy_sentiment_N=5_draw0",
        "toy_sentiment_N=5_draw1",
        "toy_question_N=5_draw0",
        "toy_question_N=5_draw1",
    ]
    lines = (tmp_path / "toy_question_N=5_draw0" / "train.jsonl").read_text().splitlines()
    tasks = [json.loads(line)["provenance"]["task"] for line in lines]
    assert tasks.count("toy_question") == 5


def test_starting_points_have_a_mixture_and_untrained_cells_none(tmp_path: Path) -> None:
    grid = {
        "design": "transfer", "tasks": ["toy_sentiment"], "sizes": [0, 5], "draws": 1, "validation_rows": 8,
        "starts": ["base", "merged"], "instruction_validation_rows": 8,
    }  # fmt: skip
    listed = write_mixtures(small(grid=grid), tmp_path)
    assert [entry["arm"] for entry in listed] == ["toy_sentiment N=5 base", "instruction tuning"]


def test_a_derived_dataset_that_was_not_made_is_named(tmp_path: Path) -> None:
    study = small()
    data = study.data.model_dump(mode="json")
    data["derived"] = {"more": {"kind": "synthetic", "of": "toy_sentiment", "rows": 5}}
    grid = {"design": "sources", "tasks": ["toy_sentiment"], "sizes": [5], "sources": ["S"]}
    grid["synthetic"] = {"toy_sentiment": "more"}
    with pytest.raises(ConfigError, match=r"no derived dataset 'more' in no storage.*--until data"):
        write_mixtures(small(data=data, grid=grid), tmp_path)


MIXTURE_GRID = {
    "design": "mixture", "components": {"instructions": {}, "toy_sentiment": {"max_repeats": 2}}, "total": 80,
    "points": [{"name": "../../most of it", "toy_sentiment": 1}], "draws": 2, "validation_rows": 4,
}  # fmt: skip
MIXTURE_SETS = {"target_rows": None, "sets": {"toy_sentiment": {"rows": 4}}}


def test_an_arm_of_a_mixture_study_is_written_as_messages_that_other_trainers_read(tmp_path: Path) -> None:
    study = small(grid=MIXTURE_GRID, evaluation=MIXTURE_SETS)
    listed = write_mixtures(study, tmp_path / "out", arm="../../most of it")
    assert [entry["folder"] for entry in listed] == ["most_of_it_draw0", "most_of_it_draw1"]
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    folder = tmp_path / "out" / "most_of_it_draw0"
    plain = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    told = [json.loads(line)["messages"] for line in (folder / "messages.jsonl").read_text().splitlines()]
    assert len(plain) == len(told) == 80  # 60 rows, 20 of them twice
    for row, turns in zip(plain, told, strict=True):
        assert [turn["role"] for turn in turns] == ["user", "assistant"]
        assert row["input"] in turns[0]["content"]
        assert turns[1]["content"] == row["output"]
    assert (folder / "messages_validation.jsonl").read_text().count("\n") == 4


def test_an_unknown_arm_is_one_line(tmp_path: Path) -> None:
    study = small(grid=MIXTURE_GRID, evaluation=MIXTURE_SETS)
    with pytest.raises(ConfigError, match=r"saw 'none'; expected one of the arms '\.\./\.\./most of it', 'natural'"):
        write_mixtures(study, tmp_path / "out", arm="none")
    assert not (tmp_path / "out").exists()
