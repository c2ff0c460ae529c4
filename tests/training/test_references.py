from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from assay.store import Store
from assay.training.batching import TrainRow
from assay.training.references import REFERENCE_KIND, FloatArray, SharedReferences, StoredReferences, content_of


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


class Claims:
    """Claims of threads, as the cluster's actor gives them to trials."""

    def __init__(self) -> None:
        self._lock, self._taken = threading.Lock(), set[str]()

    def __call__(self, key: str) -> ThreadClaim:
        with self._lock:
            held = key not in self._taken
            self._taken.add(key)
        return ThreadClaim(self, key, held)

    def free(self, key: str) -> None:
        with self._lock:
            self._taken.discard(key)


class ThreadClaim:
    def __init__(self, claims: Claims, key: str, held: bool) -> None:
        self._claims, self._key, self.held = claims, key, held

    def close(self) -> None:
        if self.held:
            self._claims.free(self._key)


def test_trials_that_run_at_once_compute_a_reference_once(tmp_path: Path) -> None:
    store, claims, computed = Store(str(tmp_path)), Claims(), []

    def trial(number: int) -> FloatArray:
        shared = SharedReferences(StoredReferences(store, "base", "float32"), claims, look_every_s=0.01)
        values = shared.found(ROWS)
        if values is None:
            computed.append(number)
            time.sleep(0.1)  # the others look meanwhile
            values = np.array([-1.0, -2.0])
            shared.save(ROWS, values)
        shared.close()
        return values

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(trial, range(6), timeout=60))
    assert len(computed) == 1
    assert all(result.tolist() == [-1.0, -2.0] for result in results)


def test_a_trial_that_fails_leaves_the_reference_to_the_next(tmp_path: Path) -> None:
    store, claims = Store(str(tmp_path)), Claims()
    first = SharedReferences(StoredReferences(store, "base", "float32"), claims, look_every_s=0.01)
    assert first.found(ROWS) is None
    with ThreadPoolExecutor(1) as pool:
        second = SharedReferences(StoredReferences(store, "base", "float32"), claims, look_every_s=0.01)
        waiting = pool.submit(second.found, ROWS)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        first.close()
        assert waiting.result(timeout=60) is None  # now it is the second one's to compute
