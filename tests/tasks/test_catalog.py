from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.scoring.scorers.heuristics import SHIPPED_HEURISTICS
from assay.tasks.catalog import INSTRUCTION_CATEGORIES, OTHER, SHIPPED_TASKS, Task
from assay.tasks.toyworld import world as toyworld
from support.shipped import get_task, scorer_names, task_names


def test_instructions_are_the_papers(shared_data: Path) -> None:
    prompts = json.loads((shared_data / "tasks" / "prompts.json").read_text())
    assert {name: get_task(name).instruction for name in prompts} == prompts


@pytest.mark.parametrize("name", task_names())
def test_every_task_names_scorers_that_exist(name: str) -> None:
    task = get_task(name)
    assert task.reference_scorer in scorer_names()
    assert task.heuristic in SHIPPED_HEURISTICS or name == "instructions"


def test_toy_tasks_are_what_the_toy_world_makes() -> None:
    for name, toy in toyworld.TOY_TASKS.items():
        task = get_task(name)
        assert (task.instruction, task.answer_format, task.labels) == (toy.instruction, toy.answer_format, toy.labels)
        assert (task.max_new_tokens, task.chance) == (toy.max_new_tokens, toy.chance)


def test_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"saw 'sst3'.*sst2.*take one of these"):
        get_task("sst3")


def test_a_table_with_another_task_leaves_the_first_as_it_is() -> None:
    task = Task(name="sst2", instruction="Say it.", answer_format="free")
    extended = SHIPPED_TASKS.extended([task, task.replace(name="test_only")])
    assert extended.get("sst2") is task
    assert set(extended.names) - set(SHIPPED_TASKS.names) == {"test_only"}
    assert SHIPPED_TASKS.get("sst2").answer_format == "label"
    assert "test_only" not in SHIPPED_TASKS


def test_twelve_categories_and_other() -> None:
    assert len(INSTRUCTION_CATEGORIES) == 12
    assert OTHER not in INSTRUCTION_CATEGORIES
