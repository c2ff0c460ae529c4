from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.scoring.scorers.literals import UNREADABLE, find_object, read_json, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ("{'a': (1, 2)}", {"a": (1, 2)}),
        (" [1] ", [1]),
        ("null", None),
        ("None", None),
        ("", UNREADABLE),
        ("a.b", UNREADABLE),
        ("print(1)", UNREADABLE),
        ("[x for x in y]", UNREADABLE),
        ("{[]: 1}", UNREADABLE),
        ("9" * 5000, UNREADABLE),
        ("-" * 10_000 + "1", UNREADABLE),
        ("(" * 10_000, UNREADABLE),
        ("[" * 60 + "]" * 60, UNREADABLE),
        ("'\\x", UNREADABLE),
        ("\x00", UNREADABLE),
        ('"' + "x" * 30_000 + '"', UNREADABLE),
    ],
)
def test_a_literal_is_read_and_never_run(text: str, value: object) -> None:
    assert read_value(text) == value


def test_a_python_literal_is_no_json() -> None:
    assert read_json("{'a': 1}") is UNREADABLE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('So: {"a": "}"} and {"b": 1}', {"a": "}"}),
        ("So: {'a': 'it\\'s'} done", {"a": "it's"}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}),
        ('{"a": "x\\"}"}', {"a": 'x"}'}),
        ("{", None),
        ("[1]", None),
        ("no braces", None),
    ],
)
def test_the_first_object_is_found_in_chat(text: str, found: object) -> None:
    assert find_object(text) == found


@given(st.text(alphabet="{}[]()'\",: \\ab1-`#\n", max_size=60))
def test_no_text_makes_the_readers_fail(text: str) -> None:
    read_value(text)
    find_object(text)
