"""A study's own folder in the store: which name it bears, what it holds, and when it counts as finished.

`<storage>/studies/<name>/`: `study.json` (the resolved study and its key), `tables/` (result tables: the same bytes
for the same study, however often it was interrupted), `side/` (times, costs and attempts, which differ), `report.html`
and last `done.json`. A rerun that finds `done.json` with its key reads nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import ConfigError
from assay.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

DONE, STUDY = "done.json", "study.json"
DECISIONS = "side/decisions.json"
"""What the rounds of a study with `decide` saw, dropped and answered, up to the last one."""
EXITS = "side/exits.json"
"""What the barriers of a study with `exits` saw, whom they ended, and where that is kept."""


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study."""

    store: Store
    name: str
    """The study's name, or name and part of its key where another study owns the plain name."""
    key: str

    @property
    def report_path(self) -> str:
        """Where the report lies."""
        return self.store.study_path(self.name, "report.html")

    def done(self) -> dict[str, Any] | None:
        """What a finished study left, or None."""
        if not self.store.study_has(self.name, DONE):
            return None
        done = self.store.read_study_json(self.name, DONE)
        return done if done["key"] == self.key else None

    def write_tables(self, tables: Mapping[str, pa.Table], kind: str = "tables") -> None:
        """Each table as Parquet and, for people and other tools, as JSON rows."""
        for name, table in tables.items():
            self.store.write_study_table(self.name, f"{kind}/{name}.parquet", table)
            self.store.write_study_bytes(self.name, f"{kind}/{name}.json", json_rows(table))

    def read_tables(self, kind: str = "tables") -> dict[str, pa.Table]:
        """All tables of a kind by name."""
        names = self.done_or_fail()[kind]
        return {name: self.store.read_study_table(self.name, f"{kind}/{name}.parquet") for name in names}

    def done_or_fail(self) -> dict[str, Any]:
        """`done`, or a ConfigError that says how to get there."""
        done = self.done()
        if done is None:
            raise ConfigError(
                f"study {self.name!r}: saw no finished study in {self.store.uri}; expected one; run `assay run` first"
            )
        return done

    def finish(self, **content: object) -> None:
        """Mark the study as finished; the last thing that a study writes."""
        self.store.write_study_json(self.name, DONE, {"key": self.key, **content})


def open_folder(store: Store, name: str, key: str, resolved: Mapping[str, Any]) -> StudyFolder:
    """The folder of the study with this key, claimed if it is new.

    The first study of a name owns the plain name; another with the same name (a field overridden, other data) gets
    the name and the first 8 digits of its key, so that neither overwrites the other.
    """
    for candidate in (name, f"{name}-{key[:8]}"):
        if not store.study_has(candidate, STUDY):
            store.write_study_json(candidate, STUDY, {"key": key, "study": dict(resolved)})
            return StudyFolder(store, candidate, key)
        if store.read_study_json(candidate, STUDY)["key"] == key:
            return StudyFolder(store, candidate, key)
    raise ConfigError(f"study {name!r}: saw another study in both of its folders in {store.uri}; rename it")


def folder_of(store: Store, name: str, key: str) -> StudyFolder | None:
    """The folder of the study with this name and key; None where it was not begun."""
    for candidate in (name, f"{name}-{key[:8]}"):
        if store.study_has(candidate, STUDY) and store.read_study_json(candidate, STUDY)["key"] == key:
            return StudyFolder(store, candidate, key)
    return None


def find_folder(store: Store, name: str) -> StudyFolder:
    """The folder of a study by the name of its folder.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if not store.study_has(name, STUDY):
        known = ", ".join(store.studies()) or "none"
        raise ConfigError(f"study {name!r}: saw no such study in {store.uri}; expected one of: {known}; see --storage")
    return StudyFolder(store, name, store.read_study_json(name, STUDY)["key"])


def json_rows(table: pa.Table) -> bytes:
    """A table as a JSON list of rows, NaN as null; the same bytes for the same table."""
    rows = [
        {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}
        for row in table.to_pylist()
    ]
    return (json.dumps(rows, ensure_ascii=False, indent=1) + "\n").encode()
