"""Study folders: the first owner of a name keeps it, and done means done for this key alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from assay.errors import ConfigError
from assay.store import Store
from assay.studies.folder import find_folder, json_rows, open_folder


def test_two_studies_of_one_name_get_two_folders(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = open_folder(store, "s", "a" * 32, {})
    second = open_folder(store, "s", "b" * 32, {})
    assert (first.name, second.name) == ("s", "s-bbbbbbbb")
    assert open_folder(store, "s", "a" * 32, {}).name == "s"
    assert open_folder(store, "s", "b" * 32, {}).name == "s-bbbbbbbb"


def test_done_is_read_back_and_belongs_to_its_key(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    folder = open_folder(store, "s", "a" * 32, {"x": 1})
    assert folder.done() is None
    with pytest.raises(ConfigError, match="assay run"):
        folder.done_or_fail()
    folder.write_tables({"t": pa.table({"x": [1.5, float("nan")]})})
    folder.finish(tables=["t"], mlflow="sqlite:///x")
    assert folder.done() == {"key": "a" * 32, "tables": ["t"], "mlflow": "sqlite:///x"}
    assert find_folder(store, "s").read_tables()["t"].num_rows == 2


def test_unknown_folders_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    open_folder(store, "mine", "a" * 32, {})
    with pytest.raises(ConfigError, match="expected one of: mine"):
        find_folder(store, "yours")


def test_json_rows_have_null_for_nan() -> None:
    assert b'"x": null' in json_rows(pa.table({"x": [float("nan")]}))
