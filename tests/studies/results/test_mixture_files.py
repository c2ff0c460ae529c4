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
