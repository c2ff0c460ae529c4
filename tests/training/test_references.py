from __future__ import annotations

from pathlib import Path

import numpy as np

from assay.store import Store
from assay.training.batching import TrainRow
from assay.training.references import REFERENCE_KIND, StoredReferences, content_of


def row(*tokens: int, start: int = 2, place: int = 0) -> TrainRow:
    return TrainRow(np.array(tokens, np.int32), start, place)


ROWS = [row(5, 6, 7, 8), row(5, 6, 9, place=1)]


def test_references_are_found_again_as_they_were_saved(tmp_path: Path) -> None:
    stored = StoredReferences(Store(str(tmp_path)), "base", "float32")
    assert stored.found(ROWS) is None
    values = np.array([-12.345678901234567, -0.1])
    stored.save(ROWS, values)
    found = stored.found(ROWS)
    assert found is not None
    np.testing.assert_array_equal(found, values)
    again = StoredReferences(Store(str(tmp_path)), "base", "float32")
    moved = [one._replace(place=7, label=3) for one in ROWS]  # what a method says of a row is no part of it
    np.testing.assert_array_equal(again.found(moved), values)
    assert Store(str(tmp_path)).keys(REFERENCE_KIND) == {stored.key(ROWS)}


def test_the_key_covers_the_base_and_what_is_read(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    keys = {
        StoredReferences(store, "base", "float32").key(ROWS),
        StoredReferences(store, "other", "float32").key(ROWS),
        StoredReferences(store, "base", "bfloat16").key(ROWS),
        StoredReferences(store, "base", "float32", "adapter").key(ROWS),
        StoredReferences(store, "base", "float32").key(ROWS[::-1]),
        StoredReferences(store, "base", "float32").key([row(5, 6, 7, 8, start=3), ROWS[1]]),
    }
    assert len(keys) == 6
    # where a row ends is read, too
    assert content_of([row(1, 2, 3), row(4, 5)]) != content_of([row(1, 2), row(3, 4, 5)])
