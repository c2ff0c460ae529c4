from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.training.batching import (
    NO_TARGET,
    RowGroup,
    TrainRow,
    as_groups,
    dropout_codes,
    feature_codes,
    group_by_length,
    group_into_packs,
    micro_batches,
    pad,
    share_of_worker,
    step_rows,
)


def rows_of(lengths: list[int]) -> list[TrainRow]:
    return [TrainRow(np.arange(10, 10 + n, dtype=np.int32), n // 2, place) for place, n in enumerate(lengths)]


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 5))
def test_each_pass_uses_every_row_once(num_rows: int, batch: int, seed: int) -> None:
    per_epoch = -(-num_rows // batch)
    for epoch in range(2):
        steps = [
            step_rows(num_rows, batch, epoch * per_epoch + step, seed=seed, shuffled=True) for step in range(per_epoch)
        ]
        assert sorted(np.concatenate(steps).tolist()) == list(range(num_rows))


def test_a_curriculum_keeps_its_order() -> None:
    assert step_rows(5, 2, 1, seed=9, shuffled=False).tolist() == [2, 3]


lengths = st.lists(st.integers(2, 40), min_size=1, max_size=30)


@given(lengths, st.one_of(st.none(), st.integers(1, 8)), st.integers(16, 120))
def test_micro_batches_hold_each_row_once_within_the_limits(
    sizes: list[int], max_rows: int | None, max_tokens: int
) -> None:
    batches = group_by_length(as_groups(rows_of(sizes)), max_groups=max_rows, max_tokens=max_tokens)
    assert sorted(row.place for batch in batches for (row,) in batch) == list(range(len(sizes)))
    for batch in batches:
        width = max(len(row.tokens) for (row,) in batch) - 1
        assert len(batch) == 1 or len(batch) * width <= max_tokens
        assert max_rows is None or len(batch) <= max_rows


@given(lengths, st.integers(16, 60), st.integers(16, 120))
def test_packs_hold_each_row_once_within_their_length(sizes: list[int], pack_length: int, max_tokens: int) -> None:
    groups = as_groups(rows_of(sizes))
    batches = group_into_packs(groups, pack_length=pack_length, max_groups=None, max_tokens=max_tokens)
    packs = [pack for batch in batches for pack in batch]
    assert sorted(row.place for pack in packs for (row,) in pack) == list(range(len(sizes)))
    assert all(len(pack) == 1 or sum(len(row.tokens) - 1 for (row,) in pack) <= pack_length for pack in packs)
    for batch in batches:
        width = max(sum(len(row.tokens) - 1 for (row,) in pack) for pack in batch)
        assert len(batch) == 1 or len(batch) * width <= max_tokens


@given(lengths, st.sampled_from([None, 50]))
def test_trained_tokens_do_not_depend_on_the_cut(sizes: list[int], pack_length: int | None) -> None:
    rows = rows_of(sizes)
    batches = micro_batches(
        as_groups(rows), pad_id=0, loss_on="answer", max_groups=4, max_tokens=64, pack_length=pack_length
    )
    trained = sorted(token for batch in batches for token in batch.targets[batch.targets != NO_TARGET].tolist())
    assert trained == sorted(token for row in rows for token in row.tokens[max(1, row.answer_start) :].tolist())


def test_dropout_follows_the_row_and_not_the_batch() -> None:
    rows = rows_of([6, 9, 4])
    together = pad([rows], pad_id=0, loss_on="all")
    alone = pad([[rows[1]]], pad_id=0, loss_on="all")
    codes = dropout_codes(together, seed=3, step=5)[0]
    np.testing.assert_array_equal(codes[5 : 5 + 8], dropout_codes(alone, seed=3, step=5)[0])
    assert not np.array_equal(dropout_codes(alone, seed=3, step=6), dropout_codes(alone, seed=3, step=5))
    assert not np.array_equal(dropout_codes(alone, seed=4, step=5), dropout_codes(alone, seed=3, step=5))
    assert len(set(feature_codes("layer", 512).tolist())) == 512
    assert not np.array_equal(feature_codes("layer", 8), feature_codes("other", 8))


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_workers_share_the_passes_and_all_take_as_many(num_workers: int) -> None:
    batches = [pad([[row]], pad_id=0, loss_on="all") for row in rows_of([5, 6, 7, 8])]
    shares = [list(share_of_worker(batches, rank, num_workers)) for rank in range(num_workers)]
    assert len({len(share) for share in shares}) == 1
    assert sum(batch.num_targets for share in shares for batch in share) == sum(b.num_targets for b in batches)


group_sizes = st.lists(st.lists(st.integers(2, 40), min_size=1, max_size=4), min_size=1, max_size=12)


def groups_of(sizes: list[list[int]]) -> list[RowGroup]:
    places = iter(range(100))
    return [tuple(TrainRow(np.arange(10, 10 + n, dtype=np.int32), 1, next(places)) for n in group) for group in sizes]


@given(group_sizes, st.one_of(st.none(), st.integers(1, 4)), st.integers(16, 200), st.sampled_from([None, 60]))
def test_a_group_is_never_split(
    sizes: list[list[int]], max_groups: int | None, max_tokens: int, pack_length: int | None
) -> None:
    groups = groups_of(sizes)
    batches = micro_batches(
        groups, pad_id=0, loss_on="answer", max_groups=max_groups, max_tokens=max_tokens, pack_length=pack_length
    )
    seen = [[row.place for row in group] for batch in batches for group in batch.groups]
    assert sorted(seen) == sorted([row.place for row in group] for group in groups)
    for batch in batches:
        inside = [int(place) for line in batch.rows for place in dict.fromkeys(line[line >= 0].tolist())]
        assert inside == [row.place for group in batch.groups for row in group]  # sequence after sequence
        if pack_length is None or len(batch.input_ids) > 1:  # a pack passes whole
            assert len(batch.groups) == 1 or batch.input_ids.size <= max_tokens
            assert max_groups is None or len(batch.groups) <= max_groups


def test_what_a_worker_repeats_holds_no_groups() -> None:
    batches = micro_batches(as_groups(rows_of([5, 6, 7])), pad_id=0, loss_on="all", max_groups=1, max_tokens=64)
    last = list(share_of_worker(batches, 1, 2))[-1]
    assert (last.num_targets, last.groups) == (0, ())
