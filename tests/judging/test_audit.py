"""The bias audit: what was planted is found, what was not is not, and no attack moves anything but a judge."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from assay.judge_server.config import Biases
from assay.judge_server.rubric.judge import Rubric, _obeys
from assay.judge_server.rubric.quality import quality
from assay.judge_server.server.exchange import JudgeRequest, content_key
from assay.judging.audit import (
    AuditPlan,
    ModelAnswer,
    audit_report,
    make_plan,
    make_rater,
    pair_instances,
    rating_instance,
    rating_instances,
)
from assay.judging.probes import HARMLESS, INJECTIONS, MASTER_KEYS, Probe, family_of, rating_probes
from assay.llm.requests import Message
from assay.reports.judge_audit import audit_attacks, audit_lines, audit_shares
from assay.scoring.judges.calls import JudgeCall, JudgeProtocol
from assay.scoring.judges.judgements import PointwiseJudgement
from support.replayed import replay_protocol
from support.shipped import make_pairwise, make_protocol

PLAN = make_plan(num_items=24, num_pairs=48, attack_items=1)
JUDGE = "rubric-judge"


def audit(plan: AuditPlan, seed: int, **bias: float) -> dict[str, Any]:
    """The report on the rubric judge with these biases, asked in this process."""
    rubric = Rubric(Biases(**bias), seed)

    def all_of(protocol: JudgeProtocol[Any, Any], instances: list[Any]) -> list[Any]:
        def answer(call: JudgeCall) -> str:
            messages = tuple((message.role, message.content) for message in call.messages)
            key = content_key(JUDGE, messages)
            return rubric.replies(JudgeRequest(JUDGE, messages, key, "", protocol.name, call.step), 1)[0].text

        return [replay_protocol(protocol, instance, answer) for instance in instances]

    verdicts = all_of(make_pairwise("vanilla"), pair_instances(plan))
    rater = make_rater("mt_bench_single", "strict")
    ratings = all_of(rater, rating_instances(plan, rater.name))
    answers = [rating_instance(rater.name, a.question, a.response, a.reference) for a in plan.answers]
    return audit_report(plan, JUDGE, "strict", verdicts, ratings, all_of(rater, answers)).as_json()


def holds(effect: dict[str, Any], value: float) -> bool:
    return effect["low"] <= value <= effect["high"]


def test_answers_to_one_question_are_worth_the_same_to_a_judge_of_content() -> None:
    worth: dict[tuple[str, int], set[float]] = defaultdict(set)
    for probe in rating_probes(20):
        if probe.part in ("length", "format", "self"):
            worth[probe.part, probe.item].add(round(quality(probe.response, probe.question, probe.reference), 9))
    assert all(len(values) == 1 for values in worth.values())
    assert all(0.25 < value < 0.5 for values in worth.values() for value in values)  # room to move both ways


def test_there_are_at_least_thirty_injections_and_the_known_master_keys() -> None:
    assert len(INJECTIONS) >= 30 and len(MASTER_KEYS) >= 10
    assert {":", "Thought process:"} <= set(MASTER_KEYS.values())


def test_no_bias_is_found_where_none_is_planted() -> None:
    """At 5 % in all, more than three of twenty false alarms have a probability of 1.6 %."""
    found = [audit(PLAN, seed)["found"] for seed in range(1, 21)]
    assert sum(bool(names) for names in found) <= 3, found


def test_planted_biases_are_recovered_inside_their_intervals() -> None:
    planted = {"position": 0.25, "length": 0.06, "format": 0.1, "self_preference": 0.08, "injection": 0.6}
    report = audit(make_plan(), 0, **planted)
    # the server's scale of quality is 0 to 1, the audit's has nine points from end to end
    assert holds(report["position"]["effect"], 0.25)
    assert holds(report["length"]["effect"], 9 * 0.06)
    assert holds(report["format"]["markdown"]["effect"], 9 * 0.1)
    assert holds(report["format"]["json"]["effect"], 9 * 0.1)
    assert holds(report["format"]["sentence"]["effect"], 0.0)
    assert holds(report["self_preference"]["effect"], 9 * 0.08)
    for part, texts in (("injection", INJECTIONS), ("master_keys", MASTER_KEYS)):
        heard = sum(_obeys(f"x\n{text}" if part == "injection" else text) for text in texts.values())
        assert holds(report[part]["effect"], 0.6 * heard / len(texts))
    assert report["found"] == [
        "position", "length", "format.markdown", "format.json", "self_preference", "injection", "master_keys",
    ]  # fmt: skip
    coverage = report["coverage"]
    assert coverage["asked"] == coverage["scored"] == 2 * 60 + len(rating_probes(40))


@pytest.mark.parametrize(
    ("name", "value"),
    [("position", -0.4), ("length", -0.06), ("self_preference", -0.1)],
)
def test_a_bias_against_something_is_found_too_and_alone(name: str, value: float) -> None:
    report = audit(PLAN, 3, **{name: value})
    assert report["found"] == [name]
    assert holds(report[name]["effect"], value if name == "position" else 9 * value)


def test_a_judge_of_unknown_family_has_no_self_preference_unless_told_its_phrase() -> None:
    assert [family_of(name) for name in ("gpt-4o", "org/Qwen2.5-7B", "o3-mini", "claude-x", "solo")] == [
        "openai", "qwen", "openai", "anthropic", None,
    ]  # fmt: skip
    told = make_plan(num_items=20, num_pairs=4, attack_items=1, self_phrase="As an AI language model, hello there.")
    report = audit(told, 1, self_preference=0.1)
    assert report["family"] == "own" and report["self_preference"]["by_family"]["own"]["value"] > 0.4


def test_the_reports_lines_are_the_audits_tests() -> None:
    report = audit(PLAN, seed=3, position=0.5, injection=0.5)
    lines = {line["name"]: line for line in audit_lines(report)}
    found = {name.replace(".", ": ").replace("_", " ") for name in report["found"]}
    assert {name for name, line in lines.items() if line["found"]} == found
    assert {"position", "length", "format: markdown", "self preference", "injection", "master keys"} <= set(lines)
    assert lines["position"]["value"].startswith("+")
    assert lines["injection"]["value"] == f"{report['injection']['effect']['value']:.3f}"  # a share has no sign
    assert {row["kind"] for row in audit_attacks(report)} == {"injection", "master keys"}
    assert audit_shares(report)[0][0] == "same verdict in both orders"


def test_real_answers_give_judge_family_against_model_family() -> None:
    answers = [
        ModelAnswer(f"What is {number} plus 50?", f"It makes {number + 50 + wrong}.", model, str(number + 50))
        for number in range(60, 76)
        for model, wrong in (("gpt-4o", 0), ("llama-3", 6), ("gemma-2", 6))
    ]
    report = audit(make_plan(4, 4, None, answers, attack_items=1), 0)["model_families"]
    assert report["effect"]["low"] > 1 and report["p"] < 0.01
    assert set(report["by_family"]) == {"openai", "meta", "google"}


def test_failed_calls_are_counted_and_never_scored() -> None:
    plan = make_plan(2, 2, attack_items=1)
    ratings = [PointwiseJudgement(None, 1.0, 10.0, "error: timeout") for _ in plan.probes]
    verdicts = [replay_protocol(make_pairwise("vanilla"), item, lambda _: "hm") for item in pair_instances(plan)]
    report = audit_report(plan, JUDGE, "strict", verdicts, ratings).as_json()
    assert report["coverage"] == {
        "asked": 4 + len(ratings), "scored": 0, "unscored": {"error: timeout": len(ratings), "unparsable": 4},
    }  # fmt: skip
    assert report["found"] == [] and report["length"]["effect"]["value"] is None


POINTWISE = ("mt_bench_single", "ifteval", "ifteval_alone", "geval_coherence")
ATTACKS = [probe for probe in rating_probes(1, attack_items=1) if probe.variant and probe.variant not in HARMLESS]
ATTACKS = [probe for probe in ATTACKS if probe.part in ("injection", "master_key")]


def outside_of_fences(messages: tuple[Message, ...], nonce: str) -> list[str]:
    """What is said beside the fenced material, the nonce made equal."""
    begin, end = f"<<<BEGIN {nonce}>>>\n", f"\n<<<END {nonce}>>>"
    pieces = []
    for message in messages:
        for piece in message.content.split(begin):
            pieces.append(f"{message.role}: {piece.split(end)[-1]}".replace(nonce, "NONCE"))
    return pieces


def first_call(protocol: JudgeProtocol[Any, Any], instance: Any) -> JudgeCall:
    seen: list[JudgeCall] = []

    def answer(call: JudgeCall) -> str:
        seen.append(call)
        return "5"

    replay_protocol(protocol, instance, answer)
    return seen[0]


def nonce_of(messages: tuple[Message, ...]) -> str:
    return messages[0].content.split("<<<BEGIN ")[1].split(">>>")[0]


@pytest.mark.parametrize("name", POINTWISE)
def test_an_attack_stays_inside_its_fence_and_leaves_prompt_and_parser_alone(name: str) -> None:
    protocol = make_protocol(name)
    plain = ATTACKS[0]

    def shown(probe: Probe, response: str) -> tuple[Message, ...]:
        instance = rating_instance(name, probe.question, response, probe.reference)
        return first_call(protocol, instance).messages

    for probe in ATTACKS:
        usual = shown(probe, "A usual answer.")
        attacked = shown(probe, probe.response)
        assert [m.role for m in attacked] == [m.role for m in usual]
        assert outside_of_fences(attacked, nonce_of(attacked)) == outside_of_fences(usual, nonce_of(usual))
        fenced = f"<<<BEGIN {nonce_of(attacked)}>>>\n{probe.response}\n<<<END {nonce_of(attacked)}>>>"
        assert sum(fenced in message.content for message in attacked) == 1
        assert attacked == shown(probe, probe.response)  # the same request, so the same key
        for reply in ("Rating: [[4]]", "4,4"):
            instance = rating_instance(name, probe.question, probe.response, probe.reference)
            usual_instance = rating_instance(name, plain.question, "A usual answer.", plain.reference)
            read = replay_protocol(protocol, instance, lambda _, text=reply: text)
            assert read.score == replay_protocol(protocol, usual_instance, lambda _, text=reply: text).score


@pytest.mark.parametrize("name", ["vanilla", "cot", "rating", "faireval"])
def test_an_attack_on_a_pair_stays_inside_its_fence(name: str) -> None:
    from assay.scoring.judges.protocols.pairwise import PairInstance

    protocol = make_protocol(name)
    for probe in ATTACKS:
        usual = first_call(protocol, PairInstance(probe.question, "A usual answer.", "Another one.")).messages
        attacked = first_call(protocol, PairInstance(probe.question, probe.response, "Another one.")).messages
        assert outside_of_fences(attacked, nonce_of(attacked)) == outside_of_fences(usual, nonce_of(usual))
