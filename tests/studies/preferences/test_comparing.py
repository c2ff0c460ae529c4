"""Answers compared two by two: scores like any other, by whoever compares."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from assay.errors import DataError
from assay.preference.sources import SampledPairs
from assay.records import Example, Prediction
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import Choice, PairVerdict
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.studies.preferences.comparing import as_example, asked_at_once, compared_rows, protocol_of, said_by_start
from assay.studies.preferences.wanted import answer_id

PROMPT = Example("p", "instructions", "train", "Say hello.", "", "Hello.")


def longer(instances: Sequence[PairInstance]) -> list[PairVerdict]:
    winners = [1 if len(one.output_1) > len(one.output_2) else 2 for one in instances]
    return [PairVerdict(Choice(winner), Choice(winner)) for winner in winners]  # type: ignore[arg-type]


def answers(*texts: str) -> dict[str, str]:
    return {answer_id("p", place): text for place, text in enumerate(texts)}


def test_every_two_distinct_answers_are_compared_once() -> None:
    seen: list[PairInstance] = []

    def compare(instances: Sequence[PairInstance]) -> list[PairVerdict]:
        seen.extend(instances)
        return longer(instances)

    rows = compared_rows("pairwise", "key", [PROMPT], 5, answers("bb", "a", "bb", "ccc"), compare)
    assert [(one.input, one.output_1, one.output_2) for one in seen] == [
        ("Say hello.", "bb", "a"), ("Say hello.", "bb", "ccc"), ("Say hello.", "a", "ccc"),
    ]  # fmt: skip
    assert [row.rating for row in rows] == [0.5, 0.0, 0.5, 1.0, None]
    assert rows[-1].unscored == "no prediction"


def test_without_a_second_answer_there_is_nothing_to_compare_and_without_a_verdict_no_score() -> None:
    (row, again) = compared_rows("pairwise", "key", [PROMPT], 2, answers("same", "same"), longer)
    assert row.rating == again.rating == 0.5

    def silent(instances: Sequence[PairInstance]) -> list[PairVerdict]:
        return [PairVerdict(Choice(None, "unparsable"), Choice(1)) for _ in instances]

    rows = compared_rows("pairwise", "key", [PROMPT], 2, answers("one", "two"), silent)
    assert {row.unscored for row in rows} == {"no verdict"}


def test_the_start_is_asked_about_all_pairs_in_one_batch_and_its_replies_are_read() -> None:
    protocol = protocol_of(SampledPairs(label="self"), "strict")
    instances = [PairInstance("Say hello.", "Hello.", "No."), PairInstance("Say bye.", "No.", "Bye.")]
    batches: list[int] = []

    def reply(number: int, calls: Sequence[JudgeCall]) -> list[str]:
        batches.append(len(calls))
        texts = [as_example(call, place).instruction for place, call in enumerate(calls)]
        # whichever output says "No." is the worse one
        return ["Output (b)" if text.index("No.") < max(text.find("Hello."), text.find("Bye.")) else "Output (a)"
                for text in texts]  # fmt: skip

    found = asked_at_once(protocol, instances, reply)
    assert batches == [4]  # two pairs in both orders, and no second question: it would say the same
    assert [(one.original.winner, one.swapped.winner) for one in found] == [(1, 1), (2, 2)]
    nothing = asked_at_once(protocol, instances[:1], lambda number, calls: ["" for _ in calls])
    assert nothing[0].original.winner is None


def test_the_start_says_nothing_about_what_it_was_not_shown() -> None:
    questions = [Example(f"call#{place:06d}", "instructions", "test", "?", "", "") for place in range(3)]
    cut = [False, True, False]
    rows = [
        Prediction(answer_id(question.example_id, 0), "Output (a)", "stop", 9, 4, prompt_cut=is_cut)
        for question, is_cut in zip(questions, cut, strict=True)
    ]
    assert said_by_start(rows[:2], questions, 208) == ["Output (a)", "", ""]
    with pytest.raises(DataError, match=r"all longer than 208 tokens.*raise generation\.max_model_len"):
        said_by_start(rows[1:2], questions[1:2], 208)
