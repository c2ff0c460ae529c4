"""Judges that think aloud: drafts change no verdict on any protocol; G-Eval weighs the number that is the score."""

from __future__ import annotations

import json
import math

import pytest

from assay.llm.requests import Answer, request_key
from assay.scoring.judges import asking
from assay.scoring.judges.calls import JudgeCall, to_request
from assay.scoring.judges.judgements import AMBIGUOUS, CUT_SHORT, UNFINISHED, UNPARSABLE
from assay.scoring.judges.protocols.geval import DIMENSIONS, GEvalJudge
from assay.scoring.judges.protocols.joint import JointInstance, JointJudge
from assay.scoring.judges.protocols.mt_bench import DialoguePair
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.pointwise import IftevalJudge, PointwiseInstance
from assay.scoring.judges.protocols.repeats import replies_text
from support.replayed import replay_protocol
from support.shipped import make_pairwise, make_pointwise, make_protocol, protocol_names

PAIR = PairInstance("Say hi.", "hi", "hello there")
RESPONSE = PointwiseInstance("Say hi.", "hi", "hi")
DRAFT = "<think>\nOutput (a) is better. Score: 1. [[A]] 1,1\n</think>\n\n"


@pytest.mark.parametrize("strategy", [name for name in protocol_names("pairwise") if name != "faireval"])
def test_a_draft_changes_no_pairwise_verdict(strategy: str) -> None:
    judge = make_pairwise(strategy)

    def said(call: JudgeCall) -> str:
        if call.step.startswith("rate"):
            return "8" if call.step == "rate_2" else "3"
        return "Output (b)" if call.order == "original" else "Output (a)"

    plain = replay_protocol(judge, PAIR, said)
    thought = replay_protocol(judge, PAIR, lambda call: DRAFT + said(call))
    assert plain.winner == 2
    assert (thought.original, thought.swapped) == (plain.original, plain.swapped)
    assert all(item.thinking_chars > 0 and item.text and DRAFT in item.text for item in thought.exchanges)


def test_a_draft_is_shown_to_no_later_step() -> None:
    judge = make_pairwise("swap")
    shown: list[str] = []

    def answer(call: JudgeCall) -> str:
        shown.extend(message.content for message in call.messages)
        return f"<think>secret draft</think>Output (a) is short. Therefore, Output ({'a'}) is better."

    replay_protocol(judge, PAIR, answer)
    assert not any("secret draft" in text for text in shown)


@pytest.mark.parametrize("name", protocol_names("pointwise"))
def test_a_draft_changes_no_score_and_unfinished_thinking_has_none(name: str) -> None:
    judge = make_pointwise(name)
    replies = {"objecqa": "Objective", "category": "Summarize"}
    said = replies.get(name, "8,9" if name in ("ifteval", "ifteval_swapped") else "4")
    plain = replay_protocol(judge, RESPONSE, lambda call: said)
    assert replay_protocol(judge, RESPONSE, lambda call: DRAFT + said).score == plain.score
    cut = replay_protocol(judge, RESPONSE, lambda call: "<think>Score: 3, or Objective, or 3,4")
    assert (cut.score, cut.status) == (None, UNFINISHED)


def test_compat_reads_the_draft_as_published_code_did() -> None:
    assert replay_protocol(make_pairwise("vanilla", "compat"), PAIR, lambda call: DRAFT + "Output (b)").winner == 0
    compat = replay_protocol(IftevalJudge(mode="compat"), RESPONSE, lambda call: "<think>1</think>8,9")
    assert compat.score is None  # 18 is no score
    assert IftevalJudge(mode="compat").identity()["version"] == 1
    assert IftevalJudge(mode="strict").identity()["version"] == asking.READERS


def test_a_joint_ranking_is_that_of_the_answer() -> None:
    instance = JointInstance("Say hi.", {"x": "hi", "y": "hello"})
    judge = JointJudge(repeats=1)
    reply = '<think>{"A": {"score": 90}, "B": {"score": 10}}</think>{"A": {"score": 20}, "B": {"score": 70}}'
    scores = replay_protocol(judge, instance, lambda call: reply).scores
    assert sorted(score or 0 for score in scores.values()) == [20, 70]


def test_an_ambiguous_verdict_is_asked_for_again_and_says_so() -> None:
    steps: list[str] = []

    def answer(call: JudgeCall) -> str:
        steps.append(call.step)
        return "Output (a) is worse than Output (b)."

    verdict = replay_protocol(make_pairwise("cot"), PAIR, answer)
    assert verdict.original.status == AMBIGUOUS
    assert steps == ["compare", "compare", "compare_again", "compare_again"]


@pytest.mark.parametrize("name", ["vanilla", "cot", "mt_bench_pair", "ifteval"])
def test_no_draft_is_shown_when_a_reply_is_asked_for_again(name: str) -> None:
    judge = make_protocol(name)
    instance = {"mt_bench_pair": DialoguePair(("Say hi.",), ("hi",), ("hello",)), "ifteval": RESPONSE}.get(name, PAIR)
    shown: list[str] = []

    def answer(call: JudgeCall) -> str:
        shown.extend(message.content for message in call.messages)
        return "<think>secret draft</think>" + ("No idea." if call.order != "swapped" else "")

    replay_protocol(judge, instance, answer)
    assert any("could not be read" in text for text in shown)
    assert "No idea." in shown
    assert not any("secret draft" in text or not text for text in shown)


def test_a_reply_without_a_verdict_that_its_budget_ended_says_so() -> None:
    def answer(text: str) -> Answer:
        return Answer(text, "length", 1, 1, None, False, "k")

    judge = make_pairwise("cot")
    assert replay_protocol(judge, PAIR, lambda call: answer("Output (a) is short, and")).original.status == CUT_SHORT
    assert replay_protocol(judge, PAIR, lambda call: answer("[Reasoning] Both are")).original.status == UNFINISHED
    assert replay_protocol(judge, PAIR, lambda call: answer("Output (b) is better. It")).original.winner == 2
    compat = replay_protocol(make_pairwise("cot", "compat"), PAIR, lambda call: answer("Output (a) is short, and"))
    assert compat.original.status == UNPARSABLE


def tokens(*parts: str | dict[str, float]) -> Answer:
    """A reply of tokens; a dict is one with alternatives, the first of which was said."""
    content = []
    for part in parts:
        options = part if isinstance(part, dict) else {part: 1.0}
        top = [{"token": token, "logprob": math.log(p)} for token, p in options.items()]
        content.append({"token": next(iter(options)), "logprob": 0.0, "top_logprobs": top})
    text = "".join(str(item["token"]) for item in content)
    return Answer(text, "stop", 1, 1, None, False, "k", json.dumps({"logprobs": {"content": content}}))


@pytest.mark.parametrize(
    ("reply", "score", "mass"),
    [
        (tokens("On a scale of ", "1", "-", "5", ": ", {"4": 0.75, "2": 0.25}), 3.5, 1.0),
        (tokens("<think>", {"1": 0.9, "2": 0.1}, "</think>", {"4": 0.5, "5": 0.25, "x": 0.25}), 13 / 3, 0.75),
        (tokens({"4": 0.5, "1": 0.5}, ".", "5"), 4.5, 0.0),
        (tokens("Score: ", {" 4": 0.5, " 3": 0.5}, "/", "5"), 3.5, 1.0),
        (tokens("Rating: ", {"2": 1.0}, " -> revised to ", {"3": 0.5, "5": 0.5}), 4.0, 1.0),
        (tokens("I can't give this a ", {"4": 1.0}, "."), None, 0.0),
        (tokens("A good one."), None, 0.0),
    ],
)
def test_geval_weighs_the_token_of_the_accepted_number(reply: Answer, score: float | None, mass: float) -> None:
    judge = GEvalJudge(dimension=DIMENSIONS["fluency"], logprobs=True)
    judgement = replay_protocol(judge, RESPONSE, lambda call: reply)
    assert judgement.score == (None if score is None else pytest.approx(score))
    assert judgement.parts["mass"] == pytest.approx(mass)
    detail = judgement.outcome().detail
    assert json.loads(detail)["mass"] == pytest.approx(mass)
    assert reply.text in replies_text(detail)


def test_samples_stand_in_where_an_endpoint_gives_no_probabilities() -> None:
    calls: list[JudgeCall] = []

    def answer(call: JudgeCall) -> Answer:
        calls.append(call)
        return Answer("45"[call.replicate % 2], "stop", 1, 1, None, False, "k")

    judgement = replay_protocol(GEvalJudge(dimension=DIMENSIONS["fluency"], logprobs=True, samples=4), RESPONSE, answer)
    assert judgement.score == 4.5
    assert judgement.parts == {"samples": 4.0, "parsed": 4.0, "mass": 0.0}
    assert [call.sampling.logprobs for call in calls] == [True, False, False, False, False]


@pytest.mark.parametrize(
    "name", ["ifteval", "geval_fluency", "vanilla", "rating", "faireval", "joint", "mt_bench_pair"]
)
def test_newer_readers_ask_for_the_requests_that_the_ledger_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = make_protocol(name)
    instance = {
        "joint": JointInstance("Say hi.", {"x": "hi", "y": "hello"}),
        "mt_bench_pair": DialoguePair(("Say hi.",), ("hi",), ("hello",)),
    }.get(name, RESPONSE if name in protocol_names("pointwise") else PAIR)

    def keys() -> list[str]:
        return [request_key("endpoint", to_request(call, name, "m")) for call in next(judge.run(instance))]

    before, version = keys(), judge.identity()["version"]
    monkeypatch.setattr(asking, "READERS", asking.READERS + 1)
    assert keys() == before
    assert judge.identity()["version"] != version
