"""Replies that could not be read are drawn again under numbers of their own, and all are kept."""

from __future__ import annotations

import pytest

from assay.llm.requests import Answer, Failure
from assay.scoring.judges.calls import JudgeCall, JudgeProtocol, JudgeReply
from assay.scoring.judges.judgements import CUT_SHORT, UNPARSABLE, PairVerdict, PointwiseJudgement
from assay.scoring.judges.protocols.joint import JointInstance, JointJudge
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.protocols.repeats import repeated
from assay.scoring.judges.protocols.retries import RETRY_REPLICATES, is_unreadable, retried
from support.replayed import replay_protocol
from support.shipped import make_protocol

RESPONSE = PointwiseInstance("Say hi.", "hi", "hi")
PAIR = PairInstance("Say hi.", "hi", "hello")


def test_an_unreadable_reply_is_drawn_again_and_both_are_kept() -> None:
    asked: list[int] = []

    def answer(call: JudgeCall) -> str:
        asked.append(call.replicate)
        return "8,9" if call.replicate >= 2 * RETRY_REPLICATES else "The evaluation is complete."

    judge: JudgeProtocol[PointwiseInstance, PointwiseJudgement] = retried(make_protocol("ifteval", max_reasks=0), 3)
    found = replay_protocol(judge, RESPONSE, answer)
    assert found.score is not None
    assert asked == [0, RETRY_REPLICATES, 2 * RETRY_REPLICATES]
    assert [item.replicate for item in found.exchanges] == asked
    assert [item.text for item in found.exchanges] == ["The evaluation is complete."] * 2 + ["8,9"]


@pytest.mark.parametrize(
    ("reply", "is_again"),
    [
        ("No idea.", True),
        (Failure("timeout", "", "k", 6), True),
        (Failure("cut", "", "k", 1), True),
        (Answer("The answer", "length", 1, 1, None, False, "k"), True),
        (Failure("filtered", "", "k", 1), False),
        (Failure("refused", "", "k", 1), False),
        ("8,9", False),
    ],
)
def test_what_another_draw_may_bring_is_asked_for_and_nothing_else(reply: JudgeReply, is_again: bool) -> None:
    asked: list[int] = []

    def answer(call: JudgeCall) -> JudgeReply:
        asked.append(call.replicate)
        return reply

    judge: JudgeProtocol[PointwiseInstance, PointwiseJudgement] = retried(make_protocol("ifteval", max_reasks=0), 1)
    replay_protocol(judge, RESPONSE, answer)
    assert len(asked) == 1 + is_again


def test_pairs_and_joint_calls_are_drawn_again_too_and_no_number_is_asked_twice() -> None:
    asked: list[tuple[str, int, str]] = []

    def answer(call: JudgeCall) -> str:
        asked.append((call.step, call.replicate, call.order))
        return "No idea."

    pair: JudgeProtocol[PairInstance, PairVerdict] = retried(make_protocol("vanilla"), 2)
    assert replay_protocol(pair, PAIR, answer).original.status == UNPARSABLE
    assert len(set(asked)) == len(asked) == 3 * 4  # two orders, each asked again once
    joint = retried(JointJudge(repeats=1), 1)
    assert is_unreadable(replay_protocol(joint, JointInstance("Say hi.", {"x": "a", "y": "b"}), answer))
    asked.clear()
    several = repeated(retried(make_protocol("ifteval"), 2), 3)
    replay_protocol(several, RESPONSE, answer)
    assert len(set(asked)) == len(asked) == 3 * 3 * 2


def test_without_retries_a_protocol_is_itself() -> None:
    judge = make_protocol("vanilla")
    assert retried(judge, 0) is judge
    assert retried(judge, 1).identity() == {**judge.identity(), "retry_unreadable": 1}


def test_a_cut_reply_says_why_there_is_no_score() -> None:
    cut = Answer("The answer", "length", 1, 1, None, False, "k")
    assert replay_protocol(make_protocol("ifteval"), RESPONSE, lambda call: cut).status == CUT_SHORT
