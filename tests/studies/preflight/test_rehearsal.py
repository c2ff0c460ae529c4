"""What is tried of each base before a sweep, and what is a reason to try it again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from assay.generation.spec import GenerationJob, GenerationResources, GenerationSpec
from assay.records import Example
from assay.studies.preflight.rehearsal import HowItRuns, Rehearsal, longest_rows, rehearsals
from assay.training.spec import TrainingJob, TrainResources, TrainSpec


def training(key: str, base: str, *, rows: int = 10, path: str = "/bases", **spec: Any) -> TrainingJob:
    return TrainingJob(key, base, f"{path}/{base}" if path else "", "mixture", TrainSpec(**spec), num_rows=rows)


def generation(key: str, base: str, *, rank: int = 8, tokens: int = 16, path: str = "/bases") -> GenerationJob:
    adapter = f"adapter {key}" if rank else None
    place = f"{path}/{base}" if path else ""
    return GenerationJob(key, place, "rows", tokens, adapter, lora_rank=rank, base_key=base)


HOW = HowItRuns(
    TrainResources(), GenerationSpec(), GenerationResources(), [{"CPU": 8.0, "GPU": 1.0}], {"torch": "2.13.0"}
)


def test_each_base_is_tried_once_with_its_largest_adapter_and_longest_answers() -> None:
    found = rehearsals(
        [training("1", "small"), training("2", "large", rows=900), training("3", "small")],
        [generation("a", "small", tokens=16), generation("b", "small", tokens=64), generation("c", "small", rank=4)],
    )
    assert [one.base_key for one in found] == ["large", "small"]  # in the order of the sweep
    assert [one.generation and one.generation.key for one in found] == [None, "b"]
    assert found[1].training is not None and found[1].training.key == "1"


def test_bases_that_the_study_has_yet_to_make_stand_for_nothing_and_whole_models_for_their_base() -> None:
    whole = training("whole", "base", method="full")
    on_merged = training("next", "merged", path="")
    found = rehearsals(
        [whole, on_merged], [generation("a", "whole", rank=0, path=""), generation("b", "merged", path="")]
    )
    assert [(one.base_key, one.generation and one.generation.key) for one in found] == [("base", "a")]


def test_what_passed_is_tried_again_for_another_machine_recipe_or_version_and_no_other_seed() -> None:
    one = Rehearsal("base", training("1", "base"), generation("a", "base"))
    key = one.key(HOW)
    assert replace(one, training=training("2", "base", seed=5)).key(HOW) == key
    others = [
        replace(one, training=training("1", "base", lora_rank=64)).key(HOW),
        replace(one, base_key="other").key(HOW),
        one.key(replace(HOW, machines=[{"CPU": 8.0, "GPU": 1.0, "accelerator_type:L4": 1.0}])),
        one.key(replace(HOW, versions={"torch": "2.14.0"})),
        one.key(replace(HOW, training=TrainResources(micro_batch_tokens=32768))),
    ]
    assert len({key, *others}) == 1 + len(others)


def test_the_longest_rows_are_answered() -> None:
    rows = [Example(f"{n}", "t", "test", "i" * n, "", "out") for n in range(20)]
    assert [row.example_id for row in longest_rows(rows)] == ["19", "18", "17", "16", "15", "14", "13", "12"]
    assert len(longest_rows(rows[:3])) == 3
