"""Design `target`: where the N rows of a task come from."""

from __future__ import annotations

import pytest

from assay.errors import ConfigError
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.spec import Study

PLAIN = ("grid.rows_from={}",)


def components(study: Study, task: str) -> set[str]:
    """Datasets in the training mixtures of a task's cells with target rows."""
    cells = [cell for cell in expand(study) if cell.task == task and cell.num_target]
    return {part.dataset for cell in cells for part in cell.mixture.train}


def test_rows_come_from_the_named_dataset_and_the_test_rows_from_the_task() -> None:
    study = load_study("quickstart")
    assert components(study, "toy_entities") == {"instructions", "toy_entities_misjoined"}
    assert components(study, "toy_question") == {"instructions", "toy_question"}
    asked = {part.name: part.dataset for part in study.grid.evaluation_sets(study)}
    assert asked["toy_entities"] == "toy_entities"
    for cell in expand(study):
        assert {"toy_entities", "toy_question"} <= set(cell.mixture.held_out)


def test_other_tasks_keep_their_mixtures() -> None:
    mine, plain = (expand(load_study("quickstart", changes)) for changes in ((), PLAIN))
    moved = {one.task for one, other in zip(mine, plain, strict=True) if one.mixture != other.mixture}
    assert moved == {"toy_entities"}


def test_what_is_said_of_a_task_that_is_not_compared_is_no_identity() -> None:
    one_task = "grid.tasks=[toy_question]"
    assert load_study("quickstart", [one_task]).identity() == load_study("quickstart", [one_task, *PLAIN]).identity()
    assert load_study("quickstart").identity() != load_study("quickstart", PLAIN).identity()


@pytest.mark.parametrize(("rows_from", "message"), [
    ("{toy_nothing: toy_sentiment}", "toy_nothing"), ("{toy_entities: nowhere}", "no dataset 'nowhere'"),
])  # fmt: skip
def test_a_name_that_nobody_defined_is_refused(rows_from: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study("quickstart", [f"grid.rows_from={rows_from}"])
