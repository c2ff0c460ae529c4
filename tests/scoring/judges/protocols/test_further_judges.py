"""MT-Bench, FairEval, G-Eval and the labellers: what they send and how replies become judgements."""

from __future__ import annotations

import json
import math

import pytest

from assay.errors import ConfigError
from assay.llm.requests import Answer, Failure
from assay.records import Rating
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.protocols.faireval import FairEvalJudge
from assay.scoring.judges.protocols.geval import DIMENSIONS, Dimension, GEvalJudge, weighted_score
from assay.scoring.judges.protocols.labelers import category_labeler, objecqa_labeler
from assay.scoring.judges.protocols.mt_bench import (
    DialoguePair,
    JudgedDialogue,
    MtBenchPair,
    MtBenchSingle,
    compat_double_bracket,
)
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from support.replayed import replay_protocol

RESPONSE = PointwiseInstance("Describe rain.", "Water that falls.", "Drops from clouds.")
PAIR = PairInstance("Question?", "FIRST", "SECOND")


@pytest.mark.parametrize(
    ("reply", "published"),
    [("Rating: [[7]]", 7), ("[[7.5]] then [[3]]", 7.5), ("Rating: [7]", 7), ("7", None), ("[[15]]", 15)],
)
def test_published_mt_bench_rating_is_the_first_bracket_unchecked(reply: str, published: float | None) -> None:
    assert compat_double_bracket(reply) == published


def test_mt_bench_single_rates_one_or_two_turns_with_or_without_references() -> None:
    judge = MtBenchSingle()
    one = JudgedDialogue(("Q1?",), ("A-one",))
    assert replay_protocol(judge, one, lambda call: "Fine. Rating: [[7]]").score == 7
    assert replay_protocol(judge, one, lambda call: "[[3]] at first, but [[8]]").score == 8
    assert replay_protocol(judge, one, lambda call: "[[11]]").status == "unparsable"
    two = JudgedDialogue(("Q1?", "Q2?"), ("A-one", "A-two"), ("R-one", "R-two"))
    text = judge.messages(two)[-1].content
    assert all(part in text for part in ("Q1?", "Q2?", "A-one", "A-two", "R-one", "R-two"))
    assert "R-one" not in judge.messages(JudgedDialogue(("Q1?",), ("A",)))[-1].content


@pytest.mark.parametrize(
    "dialogue",
    [
        JudgedDialogue((), ()),
        JudgedDialogue(("a", "b", "c"), ("a", "b", "c")),
        JudgedDialogue(("a",), ()),
        JudgedDialogue(("a", "b"), ("a", "b"), ("r",)),
    ],
)
def test_dialogues_of_another_shape_are_refused(dialogue: JudgedDialogue) -> None:
    with pytest.raises(ConfigError):
        MtBenchSingle().messages(dialogue)
    with pytest.raises(ConfigError):
        MtBenchPair().messages(DialoguePair(("a",), ("x",), ("y", "z")), "original")


def test_mt_bench_pair_calls_a_change_of_mind_a_tie() -> None:
    pair = DialoguePair(("Q?",), ("FIRST",), ("SECOND",))

    def truthful(call: JudgeCall) -> str:
        text = call.messages[-1].content
        return "[[A]]" if text.index("FIRST") < text.index("SECOND") else "[[B]]"

    assert replay_protocol(MtBenchPair(), pair, truthful).consistent == 1
    biased = replay_protocol(MtBenchPair(), pair, lambda call: "[[A]]")
    assert (biased.original.winner, biased.swapped.winner, biased.consistent) == (1, 2, 0)
    assert replay_protocol(MtBenchPair(), pair, lambda call: "[[C]]").consistent == 0
    assert replay_protocol(MtBenchPair(mode="compat"), pair, lambda call: "A").consistent is None


def test_faireval_takes_the_mean_of_all_samples_of_both_orders() -> None:
    calls: list[JudgeCall] = []

    def answer(call: JudgeCall) -> str:
        calls.append(call)
        # always 2 more for whatever stands first, in the first order by one less
        first = (9, 8, 7)[call.replicate] if call.order == "original" else 6
        return f"Evaluation evidence: fine\nThe score of Assistant 1: {first}\nThe score of Assistant 2: 5"

    verdict = replay_protocol(FairEvalJudge(), PAIR, answer)
    assert [(call.order, call.replicate) for call in calls] == [
        (order, k) for order in ("original", "swapped") for k in range(3)
    ]
    # output 1: (9 + 8 + 7 + 5 + 5 + 5) / 6 = 6.5; output 2: (5 + 5 + 5 + 6 + 6 + 6) / 6 = 5.5
    assert verdict.overall is not None
    assert (verdict.overall.score_1, verdict.overall.score_2) == (6.5, 5.5)
    assert (verdict.original.winner, verdict.swapped.winner, verdict.winner) == (1, 2, 1)


def test_faireval_leaves_unreadable_samples_out() -> None:
    def answer(call: JudgeCall) -> str | Failure:
        if call.order == "swapped":
            return Failure("timeout", "", "", 5)
        return "hm" if call.replicate else "The score of Assistant 1: 4\nThe score of Assistant 2: 7"

    verdict = replay_protocol(FairEvalJudge(mode="compat"), PAIR, answer)
    assert verdict.overall is not None and verdict.overall.winner == 2
    assert verdict.swapped.winner is None
    nothing = replay_protocol(FairEvalJudge(), PAIR, lambda call: Failure("refused", "", "", 1))
    assert nothing.winner is None and nothing.original.status == "refused"


def test_geval_is_the_mean_of_the_samples_that_parse() -> None:
    judge = GEvalJudge(dimension=DIMENSIONS["coherence"], samples=4)
    replies = {0: "4", 1: "- Coherence: 5", 2: "no idea", 3: "3"}
    judgement = replay_protocol(judge, RESPONSE, lambda call: replies[call.replicate])
    assert judgement.score == 4  # (4 + 5 + 3) / 3
    assert judgement.parts == {"samples": 4, "parsed": 3}
    assert judgement.outcome() == Rating(0.75, "3")  # (4 - 1) / (5 - 1)
    few = GEvalJudge(dimension=DIMENSIONS["coherence"], samples=2, min_parsed=2)
    assert replay_protocol(few, RESPONSE, lambda call: "4" if call.replicate else "?").status == "unparsable"


def test_geval_sends_its_criterion_its_steps_and_the_reference_where_there_is_one() -> None:
    judge = GEvalJudge(dimension=Dimension("Charm", "how charming it is", ("Look.", "Rate."), 1, 3))
    text = judge.messages(RESPONSE)[-1].content
    assert "Charm (1-3): how charming it is" in text and "1. Look.\n2. Rate." in text
    assert "Drops from clouds." in text and "Water that falls." in text
    assert "# Reference" not in judge.messages(PointwiseInstance("p", "r"))[-1].content
    with pytest.raises(ConfigError):
        GEvalJudge(dimension=Dimension("x", "x", (), 3, 3))


def top(*tokens: tuple[str, float]) -> dict[str, object]:
    alternatives = [{"token": token, "logprob": math.log(p)} for token, p in tokens]
    return {"content": [{"token": tokens[0][0], "logprob": math.log(tokens[0][1]), "top_logprobs": alternatives}]}


def test_probabilities_of_the_score_token_weight_the_scores() -> None:
    # (.6 * 4 + .2 * 5 + " 4" .1 * 4) / .9 = 3.8 / .9; "x" and 9 are no scores
    score, mass = weighted_score(top(("4", 0.6), ("5", 0.2), (" 4", 0.1), ("x", 0.05), ("9", 0.05)), 1, 5) or (0, 0)
    assert score == pytest.approx(3.8 / 0.9)
    assert mass == pytest.approx(0.9)


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"content": "4"}, {"content": [{"token": "4"}]}, [1]]
)
def test_logprobs_of_another_form_give_nothing(logprobs: object) -> None:
    assert weighted_score(logprobs, 1, 5) is None


def test_geval_falls_back_to_the_reply_where_an_endpoint_gives_no_probabilities() -> None:
    judge = GEvalJudge(dimension=DIMENSIONS["fluency"], logprobs=True)
    (call,) = next(judge.run(RESPONSE))
    assert (call.sampling.logprobs, call.sampling.top_logprobs) == (True, 20)
    plain = replay_protocol(judge, RESPONSE, lambda call: "4")
    assert (plain.score, plain.parts) == (4, {"mass": 0.0})
    extra = json.dumps({"logprobs": top(("4", 0.5), ("2", 0.5))})
    answer = Answer("4", "stop", 1, 1, None, False, "k", extra)
    assert replay_protocol(judge, RESPONSE, lambda call: answer).score == pytest.approx(3.0)


def test_objecqa_labels_and_its_score_is_a_share() -> None:
    judge = objecqa_labeler()
    messages = judge.messages(PointwiseInstance("Best car?", "It depends."))
    assert [m.content for m in messages if m.role == "assistant"] == ["Subjective", "Objective"]
    objective = replay_protocol(judge, RESPONSE, lambda call: "Objective.")
    assert (objective.label, objective.score) == ("Objective", 1.0)
    subjective = replay_protocol(judge, RESPONSE, lambda call: "subjective")
    assert (subjective.label, subjective.score) == ("Subjective", 0.0)
    assert replay_protocol(judge, RESPONSE, lambda call: "maybe").status == "unparsable"


def test_category_labeler_knows_all_thirteen_tags() -> None:
    judge = category_labeler()
    assert len(judge.classes) == 13
    prompt = judge.messages(PointwiseInstance("Translate this.", "Bonjour"))[-1].content
    assert all(f"- {name}: " in prompt for name in judge.classes)
    for name in judge.classes:
        assert replay_protocol(judge, RESPONSE, lambda call, name=name: name.lower()).label == name
    other = replay_protocol(judge, RESPONSE, lambda call: "Other")
    assert (other.label, other.score) == ("Other", 0.0)
