"""Garbage collection: what a study lists or somebody just wrote stays; what nobody wants goes when asked to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.cli import run_app
from assay.errors import ConfigError
from assay.store import Store
from assay.studies.garbage import ARTIFACTS, find_garbage

DAY_S = 86_400.0
KEYS = [f"{number:032x}" for number in range(6)]


def put(store: Store, kind: str, key: str, age_days: float = 30.0) -> None:
    with store.writing(kind, key) as artifact:
        artifact.file("data", b"x" * 1000)
    for path in (Path(store.uri) / "artifacts" / kind / key).iterdir():
        os.utime(path, (time.time() - age_days * DAY_S,) * 2)


def study(store: Store, name: str, **wanted: list[str]) -> None:
    store.write_study_json(name, "study.json", {"key": "k", "study": {}})
    store.write_study_json(name, ARTIFACTS, wanted)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    for key in KEYS[:4]:
        put(store, "adapter", key)
    put(store, "adapter", KEYS[4], age_days=0.1)
    put(store, "tone", KEYS[0])
    study(store, "one", adapter=[KEYS[0]], predictions=[])
    study(store, "two", adapter=[KEYS[0], KEYS[1], KEYS[5]])
    return store


def test_what_is_wanted_young_or_of_another_kind_stays(store: Store) -> None:
    found = find_garbage(store, now_s=time.time(), min_age_s=7 * DAY_S)
    assert [(a.kind, a.key) for a in found.unwanted] == [("adapter", KEYS[2]), ("adapter", KEYS[3])]
    assert [a.key for a in found.too_young] == [KEYS[4]]
    assert (found.wanted, dict(found.left_alone)) == (2, {"tone": 1})


def test_nothing_goes_unless_asked_to(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["gc", "--storage", store.uri]) == 0
    assert "2 artifacts, 0.0 MiB that no study wants, older than 7 days: would go" in capsys.readouterr().out
    assert len(store.keys("adapter")) == 5
    assert run_app(["gc", "--storage", store.uri, "--delete"]) == 0
    assert store.keys("adapter") == {KEYS[0], KEYS[1], KEYS[4]}
    assert store.keys("tone") == {KEYS[0]}


def test_a_half_written_artifact_is_garbage_too(store: Store) -> None:
    folder = Path(store.uri) / "artifacts" / "adapter" / KEYS[5].replace("5", "f")
    folder.mkdir()
    (folder / "weights").write_bytes(b"half")
    os.utime(folder / "weights", (0, 0))
    found = find_garbage(store, now_s=time.time(), min_age_s=7 * DAY_S)
    assert [(a.key, a.whole) for a in found.unwanted if not a.whole] == [(folder.name, False)]


def test_a_study_without_a_list_stops_it(store: Store) -> None:
    store.write_study_json("old", "study.json", {"key": "k", "study": {}})
    with pytest.raises(ConfigError, match="--forget old"):
        find_garbage(store, now_s=time.time(), min_age_s=0)
    found = find_garbage(store, now_s=time.time(), min_age_s=7 * DAY_S, forget=["old", "two"])
    assert [a.key for a in found.unwanted] == KEYS[1:4]


@given(st.lists(st.sets(st.sampled_from(KEYS)), max_size=3), st.sets(st.sampled_from(KEYS)))
def test_no_study_loses_what_it_wants(wanted: list[set[str]], stored: set[str]) -> None:
    store = Store(f"memory://{time.monotonic_ns()}")
    for key in stored:
        with store.writing("adapter", key) as artifact:
            artifact.file("data", b"x")
    for number, keys in enumerate(wanted):
        study(store, f"s{number}", adapter=sorted(keys))
    found = find_garbage(store, now_s=time.time() + 1, min_age_s=0)
    listed = set().union(*wanted)
    assert {a.key for a in found.unwanted} == (stored - listed if wanted else set())
