"""IFTEval's judge: hand-read replies in both modes, what is sent, and the bounded second question."""

from __future__ import annotations

import asyncio

import pytest

from assay.llm.requests import Failure
from assay.records import Rating, Unscored
from assay.scoring.judges.asking import REMINDER
from assay.scoring.judges.calls import JudgeCall, run_protocol
from assay.scoring.judges.parsing import compat_csv_pair, parse_pair
from assay.scoring.judges.protocols.pointwise import IftevalJudge, PointwiseInstance
from support.replayed import replay_protocol

INSTANCE = PointwiseInstance("Name a colour.", "Blue", "Red")

# reply, as published, done right
VECTORS: list[tuple[str, tuple[float, float] | None, tuple[float, float] | None]] = [
    ("8,9", (8, 9), (8, 9)),
    ("0,10", (0, 10), (0, 10)),
    (" 7, 8\n", (7, 8), (7, 8)),
    ("Output: 6,6", (6, 6), (6, 6)),
    ("**8**, **9**", (8, 9), (8, 9)),
    ("(8, 9)", (8, 9), (8, 9)),
    ("<8>,<9>", (8, 9), (8, 9)),
    ("[8, 9]", (8, 9), (8, 9)),
    ("```csv\n8,9\n```", (8, 9), (8, 9)),
    ("08,9", (8, 9), (8, 9)),
    # published quirks: the point and the sign are dropped, and every other digit of the reply counts
    ("8.5,9", None, (8.5, 9)),
    ("-1,5", (1, 5), None),
    ("8/10, 9/10", None, (8, 9)),
    ("8 out of 10, 9 out of 10", None, (8, 9)),
    ("score1,score2\n8,9", None, (8, 9)),
    ("Response 1: 8\nResponse 2: 9", None, (8, 9)),
    ("**Response 1:** 8/10\n**Response 2:** 9/10", None, (8, 9)),
    ("I would give Response 1 a 7 and Response 2 a 9.", None, (7, 9)),
    ('{"score1": 8, "score2": 9}', None, (8, 9)),
    ('{"response_1": {"score": 8.5, "reason": "fine"}, "response_2": {"score": "9"}}', None, (8.5, 9)),
    ('```json\n{"scores": [7, 8]}\n```', (7, 8), (7, 8)),
    ("8 9", None, (8, 9)),
    ("8;9", None, (8, 9)),
    ("8\n9", None, (8, 9)),
    ("eight, nine", None, (8, 9)),
    ("８，９", None, (8, 9)),
    ("\x1b[31m8\x1b[0m,9", None, (8, 9)),  # the colour codes hold digits, which the published parser keeps
    ("Scores from 0 to 10: 7, 8", None, (7, 8)),
    ("8,9\n\nBoth are fine, though Response 2 gives 3 examples.", None, (8, 9)),
    # no scores in either mode
    ("11,5", None, None),
    ("8,9,7", None, None),
    ("8", None, None),
    ("", None, None),
    ("80%,90%", None, None),
    ("8/5, 9/5", None, None),
    ("I cannot rate these responses.", None, None),
    ("NaN, 5", None, None),
    ("9" * 5000 + ",5", None, None),
    ("[" * 10_000 + "8,9" + "]" * 10_000, (8, 9), None),
    ("1e1,5", None, None),
]


@pytest.mark.parametrize(("reply", "published", "right"), VECTORS, ids=range(len(VECTORS)))
def test_hand_read_replies(
    reply: str, published: tuple[float, float] | None, right: tuple[float, float] | None
) -> None:
    assert compat_csv_pair(reply) == published
    assert parse_pair(reply, comma_separates=True) == right


def test_the_published_prompt_is_sent_whole_in_compat() -> None:
    (message,) = IftevalJudge(mode="compat").messages(INSTANCE)
    assert message.role == "user"
    assert message.content.startswith("You are a helpful assistant that helps evaluate the quality of two responses")
    assert message.content.endswith(
        "Rate the responses to the following instruction.\n\nName a colour.\n\n"
        "Response 1: Blue\nResponse 2: Red\n\nOutput:"
    )


def test_a_judge_that_is_shown_no_reference_never_sees_it() -> None:
    for message in IftevalJudge(variant="alone").messages(INSTANCE):
        assert "Red" not in message.content


def test_swapped_scores_are_mapped_back() -> None:
    judgement = replay_protocol(IftevalJudge(mode="compat", variant="swapped"), INSTANCE, lambda call: "9,4")
    assert judgement.score == 4
    assert judgement.parts == {"reference": 9}


def test_score_becomes_a_fraction_of_ten() -> None:
    judgement = replay_protocol(IftevalJudge(), INSTANCE, lambda call: "7,9")
    assert judgement.outcome() == Rating(0.7, "7,9")


def test_unreadable_reply_is_asked_again_once_with_a_reminder_and_a_new_replicate() -> None:
    calls: list[JudgeCall] = []

    def answer(call: JudgeCall) -> str:
        calls.append(call)
        return "hm" if len(calls) == 1 else "6,7"

    judgement = replay_protocol(IftevalJudge(), INSTANCE, answer)
    assert judgement.score == 6
    assert [call.replicate for call in calls] == [0, 1000]
    assert [message.content for message in calls[1].messages[-2:]] == ["hm", REMINDER]
    assert [item.text for item in judgement.exchanges] == ["hm", "6,7"]


def test_questions_are_bounded_and_an_unreadable_judgement_is_missing() -> None:
    asked = []

    def answer(call: JudgeCall) -> str:
        asked.append(call)
        return "hm"

    judgement = replay_protocol(IftevalJudge(max_reasks=2), INSTANCE, answer)
    assert judgement.outcome() == Unscored("unparsable", "hm")
    assert len(asked) == 3


def test_compat_never_asks_again() -> None:
    judgement = replay_protocol(IftevalJudge(mode="compat"), INSTANCE, lambda call: "8.5,9")
    assert (judgement.status, len(judgement.exchanges)) == ("unparsable", 1)


def test_refusals_and_failures_are_missing_data_with_their_reason() -> None:
    refused = replay_protocol(IftevalJudge(), INSTANCE, lambda call: "I'm sorry, I cannot rate that.")
    assert refused.status == "refused"
    filtered = replay_protocol(IftevalJudge(), INSTANCE, lambda call: Failure("filtered", "", "", 1))
    assert filtered.status == "filtered"
    left = Failure("filtered", "", "", 1, text="8,9")
    assert replay_protocol(IftevalJudge(), INSTANCE, lambda call: left).score is None
    published = replay_protocol(IftevalJudge(mode="compat"), INSTANCE, lambda call: left)
    assert (published.score, published.status) == (8.0, "ok")
    assert (published.exchanges[0].text, published.exchanges[0].reason) == ("8,9", "filtered")
    cut = Failure("filtered", "", "", 1, text="I would say")
    assert replay_protocol(IftevalJudge(mode="compat"), INSTANCE, lambda call: cut).status == "filtered"
    timeout = replay_protocol(IftevalJudge(), INSTANCE, lambda call: Failure("timeout", "", "", 5))
    assert timeout.outcome() == Unscored("error: timeout", "")
    assert len(timeout.exchanges) == 1


def test_the_driver_asks_through_a_coroutine() -> None:
    async def ask(call: JudgeCall) -> str:
        await asyncio.sleep(0)
        return "5,9"

    assert asyncio.run(run_protocol(IftevalJudge(), INSTANCE, ask)).score == 5
