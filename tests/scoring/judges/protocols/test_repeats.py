"""A judge that is asked several times: which calls it makes, what it means by its mean, and what is left out of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.llm.requests import Failure
from assay.records import Prediction, Rating, ScoreRow, Unscored, to_table
from assay.scoring.jobs import NO_PREDICTION, score_row
from assay.scoring.judges.calls import JudgeCall, JudgeReply
from assay.scoring.judges.protocols.pointwise import IftevalJudge, PointwiseInstance
from assay.scoring.judges.protocols.repeats import (
    REPEAT_REPLICATES,
    RepeatedJudge,
    repeat_ratings,
    repeated,
    replies_text,
)
from assay.store import Store
from assay.studies.catalog import load_study
from assay.studies.planning.estimate import plan
from assay.studies.scores import calls_per_row, judge_protocol, repeat_table
from assay.studies.spec import JudgeConfig
from support.replayed import replay_protocol
from support.shipped import make_pointwise

ONCE = IftevalJudge()
THRICE = RepeatedJudge(ONCE, 3)
INSTANCE = PointwiseInstance("Name a colour.", "Red.", "Blue.")


def by_repeat(*replies: JudgeReply) -> tuple[Callable[[JudgeCall], JudgeReply], list[JudgeCall]]:
    """Answers each repeat with its own reply, and the calls that it saw."""
    seen: list[JudgeCall] = []

    def answer(call: JudgeCall) -> JudgeReply:
        seen.append(call)
        return replies[call.replicate // REPEAT_REPLICATES]

    return answer, seen


def test_the_score_is_the_mean_and_each_repeat_is_kept() -> None:
    answer, seen = by_repeat("7, 9", "8, 9", "3, 9")
    judgement = replay_protocol(THRICE, INSTANCE, answer)
    outcome = judgement.outcome()
    assert isinstance(outcome, Rating) and outcome.value == pytest.approx(0.6)
    assert repeat_ratings([outcome.detail]) == [[0.7, 0.8, 0.3]]
    assert [row["reply"] for row in json.loads(outcome.detail)] == ["7, 9", "8, 9", "3, 9"]
    assert [item.replicate for item in judgement.exchanges] == [call.replicate for call in seen]


def test_the_first_repeat_asks_what_a_judge_asks_that_is_asked_once() -> None:
    answer, alone = by_repeat("7, 9")
    replay_protocol(ONCE, INSTANCE, answer)
    answer, calls = by_repeat("7, 9", "7, 9", "7, 9")
    replay_protocol(THRICE, INSTANCE, answer)
    assert calls[: len(alone)] == alone
    assert len({call.replicate for call in calls}) == 3 and len({call.messages for call in calls}) == 1


def test_only_the_repeat_that_cannot_be_read_asks_again_under_numbers_of_its_own() -> None:
    answer, seen = by_repeat("7, 9", "no idea", "3, 9")
    outcome = replay_protocol(THRICE, INSTANCE, answer).outcome()
    assert [call.step for call in seen] == ["score", "score", "score", "score_again"]
    assert len({call.replicate for call in seen}) == 4
    assert isinstance(outcome, Rating) and outcome.value == pytest.approx(0.5), "mean of the two that were read"
    assert repeat_ratings([outcome.detail]) == [[0.7, None, 0.3]]


def test_a_repeat_without_a_reply_leaves_the_row_to_be_asked_again() -> None:
    answer, _ = by_repeat("7, 9", Failure("timeout", "60 s", "k", 3), "3, 9")
    outcome = replay_protocol(THRICE, INSTANCE, answer).outcome()
    assert isinstance(outcome, Unscored) and outcome.reason == "error: timeout"


def test_a_row_of_which_no_repeat_was_read_says_why() -> None:
    answer, _ = by_repeat("none", "none", "none")
    outcome = replay_protocol(THRICE, INSTANCE, answer).outcome()
    assert isinstance(outcome, Unscored) and outcome.reason == "unparsable"


def test_protocols_of_several_calls_are_repeated_whole() -> None:
    geval = make_pointwise("geval_coherence", "strict", samples=4)
    answer, seen = by_repeat("4", "2")
    outcome = replay_protocol(RepeatedJudge(geval, 2), INSTANCE, answer).outcome()
    assert len(seen) == 8 == calls_per_row(RepeatedJudge(geval, 2))
    assert isinstance(outcome, Rating) and outcome.value == pytest.approx(0.5), "3 on a scale of 1 to 5"


def test_rows_that_were_never_judged_have_no_repeats_and_equal_answers_are_told(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    answers = {"x1": "yes", "x2": "yes", "x3": "no"}
    with store.writing("predictions", "p", {}) as artifact:
        rows = [Prediction(example, text, "stop", 1, 1) for example, text in answers.items()]
        artifact.table("predictions.parquet", to_table(rows, Prediction))
    answer, _ = by_repeat("7, 9", "none", "3, 9")
    outcome = replay_protocol(THRICE, INSTANCE, answer).outcome()
    judged = [score_row("judge", "p", example, outcome) for example in ("x1", "x2", "x3")]
    unwritten = ScoreRow("p", "x4", "judge", None, NO_PREDICTION, "[Errno 28] No space left on device")
    other = ScoreRow("p", "x1", "rouge1", 0.5, None, "[not ours]")
    made = repeat_table(store, [to_table([other, *judged], ScoreRow), to_table([unwritten], ScoreRow)], 3)
    assert made is not None
    found = {(row["example_id"], row["repeat"]): row["rating"] for row in made.to_pylist()}
    assert found == {(f"x{n}", repeat): (0.7, None, 0.3)[repeat] for n in (1, 2, 3) for repeat in range(3)}
    by_example = {row["example_id"]: row["answer"] for row in made.to_pylist()}
    assert by_example["x1"] == by_example["x2"] != by_example["x3"]
    assert repeat_table(store, [to_table(judged, ScoreRow)], 1) is None


def test_people_are_shown_the_replies_and_not_how_they_are_kept() -> None:
    answer, _ = by_repeat("7, 9", "none", "3, 9")
    outcome = replay_protocol(THRICE, INSTANCE, answer).outcome()
    assert replies_text(outcome.detail) == "1: 7, 9\n\n2: none\n\n3: 3, 9"
    assert replies_text('[{"a judge that speaks": "JSON"}]') == '[{"a judge that speaks": "JSON"}]'


@pytest.mark.parametrize(
    "changes", [["judge.repeats=2", "scorers=[truth]"], ["writer={repeats: 2}"], ["judge.repeats=0"]]
)
def test_repeats_that_would_do_nothing_are_refused(changes: list[str]) -> None:
    with pytest.raises(ConfigError, match="repeats"):
        load_study("quickstart", changes)


def test_once_is_the_protocol_itself_and_names_no_other_study() -> None:
    assert repeated(ONCE, 1) is ONCE
    assert judge_protocol(JudgeConfig(repeats=3), "strict").identity() == {**ONCE.identity(), "repeats": 3}
    once, twice = (load_study("quickstart", [f"judge.repeats={count}"]) for count in (1, 2))
    assert once.identity() == load_study("quickstart", []).identity() != twice.identity()
    assert plan(twice).judge_calls == 2 * plan(once).judge_calls
