"""Keys: equal values have equal names, different values different ones, and nothing is named by accident."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.config import Config
from assay.fingerprint import artifact_key, canonical_json, content_hash, delimited_hash, file_hash, fingerprint

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)


class Spec(Config):
    """A spec with a default."""

    rate: float = 1.0
    name: str = "a"


@given(st.dictionaries(st.text(max_size=4), plain, max_size=4))
def test_order_of_keys_does_not_move_a_fingerprint(value: dict[str, object]) -> None:
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)


def test_canonical_json_is_this_text() -> None:
    assert canonical_json({"b": [1, 2.0, "é"], "a": None}) == '{"a":null,"b":[1,2,"é"]}'


def test_whole_floats_and_integers_have_one_name() -> None:
    assert fingerprint({"lr": 1.0}) == fingerprint({"lr": 1})
    assert fingerprint({"lr": 1.5}) != fingerprint({"lr": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_without_canonical_form_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no canonical JSON"):
        fingerprint({"x": value})


@pytest.mark.parametrize("value", [object(), {1: 2}, {"f": len}, {"b": b"x"}])
def test_objects_without_canonical_form_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        fingerprint(value)


def test_a_spec_is_its_fields() -> None:
    assert fingerprint(Spec()) == fingerprint({"rate": 1, "name": "a"})


@given(st.lists(st.text(max_size=6), max_size=4), st.lists(st.text(max_size=6), max_size=4))
def test_delimited_hashes_differ_where_fields_differ(first: list[str], second: list[str]) -> None:
    assert (delimited_hash(first) == delimited_hash(second)) == (first == second)


def test_artifact_key_covers_kind_schema_spec_and_inputs() -> None:
    key = artifact_key("mixture", 1, {"n": 1}, {"data": "k"})
    others = [
        artifact_key("adapter", 1, {"n": 1}, {"data": "k"}),
        artifact_key("mixture", 2, {"n": 1}, {"data": "k"}),
        artifact_key("mixture", 1, {"n": 2}, {"data": "k"}),
        artifact_key("mixture", 1, {"n": 1}, {"data": "l"}),
    ]
    assert len(key) == 32
    assert len({key, *others}) == 5


def test_file_hash_is_the_content_hash(tmp_path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 3_000_000)
    assert file_hash(path) == content_hash(b"x" * 3_000_000)
