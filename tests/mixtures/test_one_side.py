"""A conversation lies on one side: over random conversations, no held-out exchange is seen in training."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.mixtures.leaks import find_leaks
from assay.mixtures.likeness import normal_form
from assay.mixtures.spec import LeakSpec
from assay.records import Example
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.templates import history

# few words, so that conversations share questions, answers and whole beginnings
SAID = st.lists(st.sampled_from(["why", "not", "two", "cats", "Größe", "漢字", "yes"]), min_size=1, max_size=3).map(
    " ".join
)
CONVERSATIONS = st.lists(
    st.tuples(st.booleans(), st.lists(st.tuples(SAID, SAID), min_size=1, max_size=5)), min_size=1, max_size=40
)


def read(conversations: list[tuple[bool, list[tuple[str, str]]]]) -> list[list[Example]]:
    """The rows of each conversation, split by content."""
    lines = []
    for number, (has_system, exchanges) in enumerate(conversations):
        turns = [{"role": "system", "content": "Be brief."}] if has_system else []
        for question, answer in exchanges:
            turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"id": f"c{number}", "messages": turns}))
    with TemporaryDirectory() as folder:
        (Path(folder) / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
        source = SourceSpec(loader="messages", path="a.jsonl", turns="each", split_rule="strict")
        rows = load_examples(source, folder)
    found: list[list[Example]] = [[] for _ in conversations]
    for row in rows:
        found[int(row.example_id.split("#")[0][1:])].append(row)
    return found


@settings(max_examples=60, deadline=None)
@given(CONVERSATIONS)
def test_all_of_a_conversation_and_of_those_that_begin_alike_is_on_one_side(
    conversations: list[tuple[bool, list[tuple[str, str]]]],
) -> None:
    sides: dict[tuple[str, str], set[str]] = {}
    for (_, exchanges), rows in zip(conversations, read(conversations), strict=True):
        assert len(rows) == len(exchanges)
        sides.setdefault(exchanges[0], set()).update(row.split for row in rows)
    assert all(len(side) == 1 for side in sides.values())


@settings(max_examples=60, deadline=None)
@given(CONVERSATIONS)
def test_no_row_that_stays_holds_a_held_out_question_in_any_turn(
    conversations: list[tuple[bool, list[tuple[str, str]]]],
) -> None:
    rows = [row for part in read(conversations) for row in part]
    train, held = ([row for row in rows if (row.split == "train") == side] for side in (True, False))
    leaking = {leak.position for leak in find_leaks(train, held, LeakSpec())}
    questions = {normal_form(row.instruction) for row in held}
    for place, row in enumerate(train):
        turns = [row.instruction, *(text for role, text in history(row) if role != "system")]
        if any(normal_form(text) in questions for text in turns):
            assert place in leaking
