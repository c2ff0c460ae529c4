from __future__ import annotations

import pytest

from assay.config import validate
from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.training.encoding import encoding_key
from assay.training.objectives.shipped import SHIPPED, read_objective
from assay.training.spec import TrainSpec, adapter_key
from support.dummy_objective import RightOverWrong


def test_supervised_training_says_nothing_in_the_key() -> None:
    spec = TrainSpec()
    assert "objective" not in spec.identity()
    assert fingerprint(spec) == "ad88eacb4c9cd0778c129b88e764ebc6"  # of the recipe before there were objectives
    assert fingerprint(TrainSpec(objective={"method": "sft"})) == fingerprint(spec)


def test_an_objective_and_its_settings_are_part_of_the_key() -> None:
    keys = {
        adapter_key(TrainSpec(objective=objective), base_key="b", mixture_key="m")
        for objective in ("sft", RightOverWrong(), RightOverWrong(scale=2.0))
    }
    assert len(keys) == 3
    assert encoding_key(TrainSpec(objective=RightOverWrong())) == encoding_key(
        TrainSpec(objective=RightOverWrong(scale=2))
    )
    assert encoding_key(TrainSpec(objective=RightOverWrong())) != encoding_key(TrainSpec())


def test_an_objective_survives_a_change_elsewhere_and_json() -> None:
    spec = TrainSpec(objective=RightOverWrong(scale=2.0))
    assert spec.replace(seed=3).objective == RightOverWrong(scale=2.0)
    shipped = TrainSpec(objective={"method": "dpo", "beta": 0.2})
    assert TrainSpec.model_validate(shipped.model_dump(mode="json")) == shipped


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("dpoo", "field 'objective': saw 'dpoo'; expected a method among sft"),
        ({"scale": 1.0}, "expected a method among sft"),
        ({"method": ["sft"]}, "expected a method among sft"),
        ("right_over_wrong", "expected a method among sft"),  # a class of this process that no study brings
        ({"method": "sft", "beta": 1.0}, "unknown field 'objective.beta'"),
    ],
)
def test_what_is_no_objective_is_refused_in_one_line(given: object, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(TrainSpec, {"objective": given}, "study")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", SHIPPED)
def test_every_shipped_objective_is_read_by_its_name(method: str) -> None:
    objective = read_objective(method)
    assert objective.method == method
    assert hash(objective) == hash(read_objective({"method": method}))
