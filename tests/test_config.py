"""Configuration: what is refused, and that the refusal is one line that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, model_validator

from assay.config import NOT_IDENTITY, Config, Later, apply_overrides, read_yaml, validate
from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.llm.endpoint import EndpointSpec, Reach
from assay.studies.given.model import GivenModel
from assay.studies.ifs_models.spec import IfsModel
from assay.studies.spec import JudgeConfig


class Inner(Config):
    """A nested spec."""

    rate: float = Field(0.1, gt=0)


class Outer(Config):
    """A spec."""

    name: str
    inner: Inner = Inner()


def test_unknown_field_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {"name": "x", "inner": {"rte": 1}}, "study.yaml")
    assert str(caught.value) == "study.yaml: unknown field 'inner.rte'; known fields: rate"


def test_missing_and_wrong_values_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {"inner": {"rate": -1}}, "s")
    assert "field 'name' is missing" in str(caught.value)
    assert "field 'inner.rate': saw -1" in str(caught.value)
    assert "\n" not in str(caught.value)


class Ranged(Config):
    """A spec with a rule over several fields."""

    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Ranged:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must lie below high {self.high}")
        return self


class Holder(Config):
    """A spec with such a part."""

    part: Ranged = Ranged()


def test_a_rule_over_fields_is_told_without_the_whole_model() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Ranged, {"low": 2}, "s")
    assert str(caught.value) == "s: low 2.0 must lie below high 1.0"
    with pytest.raises(ConfigError) as caught:
        validate(Holder, {"part": {"low": 2}}, "s")
    assert str(caught.value) == "s: field 'part': low 2.0 must lie below high 1.0"


def test_replace_validates_again() -> None:
    assert Outer(name="a").replace(name="b").name == "b"
    with pytest.raises(ValueError, match="rate"):
        Inner().replace(rate=-1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inner.rate=0.5", {"inner": {"rate": 0.5}}),
        ("names=[a, b]", {"names": ["a", "b"]}),
        ("on=true", {"on": True}),
        ("path=/data/x y", {"path": "/data/x y"}),
        ("url=http://h:1/v1", {"url": "http://h:1/v1"}),
        ("name=", {"name": ""}),
        ("name=null", {"name": None}),
    ],
)
def test_overrides_are_read_as_yaml(text: str, expected: dict[str, object]) -> None:
    assert apply_overrides({}, [text]) == expected


def test_overrides_leave_the_original_alone() -> None:
    data = {"inner": {"rate": 1}}
    apply_overrides(data, ["inner.rate=2"])
    assert data == {"inner": {"rate": 1}}


@pytest.mark.parametrize("text", ["rate", "=1", "inner..rate=1", "name.x=1"])
def test_bad_overrides_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        apply_overrides({"name": "plain"}, [text])


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x",  # an alias: ten of them nested unfold to a billion values
        "a: !!python/object/apply:os.system ['true']",
        "- 1",
        "a: [",
        "{" * 5000,
    ],
)
def test_hostile_or_broken_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_huge_and_absent_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "big.yaml").write_text("#" * 1_000_001)
    with pytest.raises(ConfigError, match="bytes"):
        read_yaml(tmp_path / "big.yaml")


class Reached(Config):
    host: Annotated[str, NOT_IDENTITY] = "here"
    model: str = "m"
    repeats: Annotated[int, Later(1)] = 1


class Asking(Config):
    judges: Mapping[str, Reached] = {}
    tried: tuple[Reached, ...] = ()
    best: Annotated[Reached | None, Later(None)] = None
    width: Annotated[int, NOT_IDENTITY] = Field(4, ge=1)


def test_identity_is_what_the_marks_leave_at_any_depth() -> None:
    other = Reached(host="there", repeats=2)
    asking = Asking(judges={"a": Reached(host="there")}, tried=(other,), best=other, width=9)
    assert asking.identity() == {
        "judges": {"a": {"model": "m"}},
        "tried": [{"model": "m", "repeats": 2}],
        "best": {"model": "m", "repeats": 2},
    }
    assert Asking().identity() == {"judges": {}, "tried": []}


def test_a_config_inside_another_value_is_named_by_its_identity() -> None:
    assert fingerprint([Reached(host="there")]) == fingerprint([{"model": "m"}]) != fingerprint([Reached(model="n")])


@pytest.mark.parametrize("kind", [JudgeConfig, IfsModel, GivenModel, EndpointSpec])
def test_how_an_endpoint_is_reached_is_no_identity_at_any_door(kind: type[Reach]) -> None:
    """A class that gives a field another default must mark it again."""
    own = {IfsModel: {"base_url"}, EndpointSpec: {"base_url"}}  # known by where it is asked
    unmarked = {name for name in Reach.model_fields if NOT_IDENTITY not in kind.model_fields[name].metadata}
    assert unmarked == own.get(kind, set())
