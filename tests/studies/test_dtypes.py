"""The type of numbers follows the study file alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.studies.builtin.paper import BUILTIN
from assay.studies.catalog import load_study

ON_GPUS = ("resources.training.gpus_per_worker=1", "resources.generation.gpus_per_engine=0.5")


def test_a_study_that_says_nothing_takes_bfloat16_where_its_stages_ask_for_gpus() -> None:
    there = load_study("quickstart", ON_GPUS)
    assert (there.train.dtype, there.generation.dtype) == ("bfloat16", "bfloat16")
    here = load_study("quickstart")
    assert (here.train.dtype, here.generation.dtype) == ("float32", "float32")


def test_each_stage_goes_by_its_own_gpus() -> None:
    study = load_study("quickstart", ON_GPUS[1:])
    assert (study.train.dtype, study.generation.dtype) == ("float32", "bfloat16")


def test_a_study_that_names_its_type_keeps_it_and_its_key(tmp_path: Path) -> None:
    file = tmp_path / "named.yaml"
    file.write_text("extends: quickstart\nname: named\ntrain: {dtype: float32}\n")
    assert load_study(str(file), ON_GPUS).train.dtype == "float32"
    assert load_study(str(file)).train == load_study("quickstart").train


def test_auto_is_the_rule_by_name(tmp_path: Path) -> None:
    file = tmp_path / "auto.yaml"
    file.write_text("extends: quickstart\nname: auto\ntrain: {dtype: auto}\ngeneration: {dtype: auto}\n")
    assert load_study(str(file)).train.dtype == "float32"
    assert load_study(str(file), ON_GPUS).generation.dtype == "bfloat16"


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_a_builtin_study_is_the_same_by_its_name_as_by_its_value(name: str) -> None:
    assert load_study(name).identity() == BUILTIN[name]().identity()


def test_what_is_no_number_of_gpus_is_refused_in_one_line() -> None:
    with pytest.raises(Exception, match="gpus_per_worker"):
        load_study("quickstart", ["resources.training.gpus_per_worker=some"])
