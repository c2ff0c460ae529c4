"""Every strategy: which calls it makes, what they show, how verdicts are mapped back and put together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.llm.requests import Failure
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import PairVerdict
from assay.scoring.judges.prompting import SHIPPED
from assay.scoring.judges.protocols.chateval import ROLES, ChatEvalJudge
from assay.scoring.judges.protocols.pairwise import (
    STRATEGIES,
    PairInstance,
    exchange_labels,
    get_strategy,
    make_pairwise_judge,
    patterns_from_configs,
)
from support.replayed import replay_protocol

PAIR = PairInstance("Name a colour.", "FIRST-TEXT", "SECOND-TEXT")
LABELLED = [name for name, row in STRATEGIES.items() if row.reply != "rating"]
RATED = [name for name, row in STRATEGIES.items() if row.reply == "rating"]


def truthful(call: JudgeCall) -> str:
    """A judge that always prefers FIRST-TEXT, wherever it stands."""
    if call.step.startswith(("auxiliary", "speak")):
        return f"said in {call.step}"
    text = call.messages[-1].content
    if call.step.startswith("rate"):
        return "8" if "FIRST-TEXT" in text else "3"
    label = "Output (a)" if text.index("FIRST-TEXT") < text.index("SECOND-TEXT") else "Output (b)"
    return f"Well. Therefore, {label} is better." if "Therefore" in text else label


def asked(
    strategy: str, answer: Callable[[JudgeCall], object], mode: str = "strict"
) -> tuple[PairVerdict, list[JudgeCall]]:
    calls: list[JudgeCall] = []

    def record(call: JudgeCall) -> object:
        calls.append(call)
        return answer(call)

    judge = make_pairwise_judge(strategy, mode)  # type: ignore[arg-type]
    return replay_protocol(judge, PAIR, record), calls  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["compat", "strict"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_judge_without_position_bias_names_the_same_output_in_both_orders(strategy: str, mode: str) -> None:
    verdict, _ = asked(strategy, truthful, mode)
    assert (verdict.original.winner, verdict.swapped.winner) == (1, 1)
    assert verdict.consistent == verdict.winner == 1


@pytest.mark.parametrize("strategy", LABELLED)
def test_a_judge_that_always_takes_the_first_is_found_out(strategy: str) -> None:
    def first(call: JudgeCall) -> str:
        return "Therefore, Output (a) is better." if call.sampling.max_tokens == 300 else "Output (a)"

    verdict, _ = asked(strategy, first)
    assert (verdict.original.winner, verdict.swapped.winner) == (1, 2)
    assert verdict.consistent == 0
    assert verdict.preference == 0.5


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        ("vanilla", ["compare"] * 2),
        ("cot", ["compare"] * 2),
        ("metrics", ["auxiliary_0", "compare", "compare"]),
        ("metrics_reference", ["auxiliary_0", "auxiliary_1", "compare", "compare"]),
        ("swap", ["compare"] * 2),
        ("rating", ["rate_1", "rate_2"]),
        ("rating_metrics_reference", ["auxiliary_0", "auxiliary_1", "rate_1", "rate_2"]),
    ],
)
def test_auxiliary_questions_are_asked_once_per_instance(strategy: str, steps: list[str]) -> None:
    _, calls = asked(strategy, truthful)
    assert [call.step for call in calls] == steps


def test_lengths_and_temperature_are_the_published_ones() -> None:
    _, calls = asked("metrics_reference", truthful)
    assert [call.sampling.max_tokens for call in calls] == [150, 384, 50, 50]
    assert {call.sampling.temperature for call in calls} == {0.0}
    assert [call.sampling.max_tokens for call in asked("cot", truthful)[1]] == [300, 300]
    assert [call.sampling.max_tokens for call in asked("rating", truthful)[1]] == [50, 50]


@pytest.mark.parametrize(("strategy", "names"), [
    ("vanilla", ["verdict"]), ("cot", ["explanation", "verdict"]), ("rating", ["score"]),
])  # fmt: skip
def test_a_judge_held_to_a_schema_is_read_by_the_same_parser(strategy: str, names: list[str]) -> None:
    judge = replace(make_pairwise_judge(strategy), structured=True)
    formats = []

    def answer(call: JudgeCall) -> str:
        formats.append(call.sampling.response_format)
        said = truthful(call)
        value = {"score": int(said)} if strategy == "rating" else {"verdict": label_of(said)}
        return json.dumps({"explanation": "Output (a) and Output (b) differ."} | value)

    verdict = replay_protocol(judge, PAIR, answer)
    assert (verdict.original.winner, verdict.swapped.winner) == (1, 1)
    assert [list(asked["json_schema"]["schema"]["properties"]) for asked in formats] == [names] * 2
    assert judge.identity() == make_pairwise_judge(strategy).identity() | {"structured": True}
    with pytest.raises(ConfigError, match=r"saw structured in compat mode; expected it in strict alone"):
        replace(make_pairwise_judge(strategy, "compat"), structured=True)


def label_of(said: str) -> str:
    """The label in what a judge says."""
    return "Output (a)" if "Output (a)" in said else "Output (b)"


def test_auxiliary_replies_reach_the_comparison_in_their_slots() -> None:
    _, calls = asked("metrics_reference", truthful, "compat")
    for call in calls[2:]:
        text = call.messages[-1].content
        assert text.index("said in auxiliary_0") < text.index("said in auxiliary_1")


def test_the_reference_call_shows_the_instruction_unfenced_and_no_output() -> None:
    _, calls = asked("reference", truthful)
    assert calls[0].messages[-1].content == PAIR.input


def test_strict_fences_the_outputs_and_compat_sends_them_as_they_are() -> None:
    assert "<<<BEGIN" in asked("vanilla", truthful, "strict")[1][0].messages[-1].content
    assert "<<<BEGIN" not in asked("vanilla", truthful, "compat")[1][0].messages[-1].content


@pytest.mark.parametrize(
    ("strategy", "shots"), [("one_shot", ["Output (a)"]), ("two_shot", ["Output (b)", "Output (a)"])]
)
def test_worked_examples_are_earlier_turns(strategy: str, shots: list[str]) -> None:
    _, calls = asked(strategy, truthful)
    assert [m.content for m in calls[0].messages if m.role == "assistant"] == shots


def test_a_disagreement_is_debated_with_labels_rewritten_to_the_order_shown() -> None:
    seen = []

    def divided(call: JudgeCall) -> str:
        if call.step == "compare":
            # prefers whatever stands first: (a) in both orders
            return f"Output (a) is crisp in the {call.order} order. Therefore, Output (a) is better."
        seen.append(call)
        return "Output (b)"

    verdict, _ = asked("swap", divided, "compat")
    assert [call.order for call in seen] == ["original", "swapped"]
    original, swapped = (call.messages[-1].content for call in seen)
    # the swapped run defended what the original order calls (b)
    assert original.index("Output (a) is crisp in the original order") < original.index(
        "Output (b) is crisp in the swapped order"
    )
    assert swapped.index("Output (a) is crisp in the swapped order") < swapped.index(
        "Output (b) is crisp in the original order"
    )
    assert (verdict.original.winner, verdict.swapped.winner) == (2, 1)


def test_no_debate_where_one_order_has_no_verdict() -> None:
    def half(call: JudgeCall) -> str:
        return "Therefore, Output (a) is better." if call.order == "original" else "Hard to say."

    verdict, calls = asked("swap", half, "compat")
    assert [call.step for call in calls] == ["compare", "compare"]
    assert (verdict.original.winner, verdict.swapped.winner) == (1, None)


def test_exchanging_labels_twice_changes_nothing() -> None:
    text = "Output (a) beats Output (b); Output (a)!"
    assert exchange_labels(text) == "Output (b) beats Output (a); Output (b)!"
    assert exchange_labels(exchange_labels(text)) == text


@pytest.mark.parametrize(
    ("mode", "replies", "winner", "scores"),
    [
        ("compat", ("8", "3"), 1, (8, 3)),
        ("compat", ("5", "5"), 0, (5, 5)),
        ("compat", ("Score: 8", "3"), None, (None, 3)),
        ("strict", ("Score: 8", "3/9"), 1, (8, 3)),
        ("strict", ("8", "10"), None, (8, None)),
    ],
)
def test_ratings_decide_by_the_higher_score(
    mode: str, replies: tuple[str, str], winner: int | None, scores: tuple[float | None, float | None]
) -> None:
    verdict, _ = asked("rating", lambda call: replies[int(call.step[5]) - 1], mode)
    assert verdict.kind == "rating"
    assert verdict.original == verdict.swapped
    assert verdict.original.winner == winner
    assert (verdict.original.score_1, verdict.original.score_2) == scores


def test_unreadable_verdicts_are_asked_again_in_strict_only() -> None:
    replies = iter(["hm", "Output (b)", "Output (a)"])
    verdict, calls = asked("vanilla", lambda call: next(replies))
    assert [(call.step, call.order) for call in calls][2] == ("compare_again", "original")
    assert (verdict.original.winner, verdict.swapped.winner) == (1, 1)
    _, calls = asked("vanilla", lambda call: "hm", "compat")
    assert len(calls) == 2


def test_a_failed_call_leaves_its_order_without_a_verdict() -> None:
    def answer(call: JudgeCall) -> str | Failure:
        return Failure("timeout", "", "", 5) if call.order == "swapped" else "Output (a)"

    verdict, _ = asked("vanilla", answer)
    assert verdict.original.winner == 1
    assert (verdict.swapped.winner, verdict.swapped.status) == (None, "error: timeout")
    assert verdict.consistent is None
    assert verdict.preference == 0.0


def test_both_spellings_name_a_strategy() -> None:
    for row in STRATEGIES.values():
        assert get_strategy(row.name) is get_strategy(row.published) is get_strategy(row.published.upper()) is row
    with pytest.raises(ConfigError, match="metrics_reference"):
        get_strategy("vanila")


def test_patterns_of_a_config_file_are_found_by_judge_and_strategy() -> None:
    parsing = {"1": "A!", "2": "B!"}
    configs = {"PaLM2/Swap": [{"parsing": None}, {"parsing": parsing}, {"parsing": {"1": "x", "2": "y"}}]}
    found = patterns_from_configs(configs, "palm2", "swap")
    assert (found["compare"].first, found["synthesize"].second) == ("A!", "y")
    assert patterns_from_configs(configs, "GPT-4", "swap") == {}
    with pytest.raises(ConfigError):
        patterns_from_configs({"j/swap": "text"}, "j", "swap")
    judge = make_pairwise_judge("swap", "compat", patterns=found)
    verdict = replay_protocol(judge, PAIR, lambda call: "A!" if call.order == "original" else "B!")
    assert (verdict.original.winner, verdict.swapped.winner) == (1, 1)


def test_the_shared_configs_give_patterns_for_every_judge(shared_data: Path) -> None:
    configs = json.loads((shared_data / "llmbar/judge_configs.json").read_text())
    found = patterns_from_configs(configs, "PaLM2", "CoT")
    assert found["compare"].first == r"(?:^|\n) ?Output \(a\)"
    for key in configs:
        judge, _, strategy = key.rpartition("/")
        patterns = patterns_from_configs(configs, judge, strategy)
        assert bool(patterns) == (not strategy.startswith("Rating"))


def test_users_bring_their_own_prompts(tmp_path: Path) -> None:
    folder = tmp_path / "comparison"
    folder.mkdir()
    (folder / "Vanilla.txt").write_text("<|im_start|>user\n{input}|{output_1}|{output_2}\n<|im_end|>")
    judge = make_pairwise_judge("vanilla", "compat", prompts_dir=tmp_path)
    calls: list[JudgeCall] = []
    replay_protocol(judge, PAIR, lambda call: calls.append(call) or "Output (a)")  # type: ignore[func-returns-value]
    assert calls[0].messages[0].content == "Name a colour.|FIRST-TEXT|SECOND-TEXT"
    assert judge.identity() != make_pairwise_judge("vanilla", "compat").identity()
    with pytest.raises(ConfigError, match=r"CoT\.txt"):
        next(make_pairwise_judge("cot", prompts_dir=tmp_path).run(PAIR))


def test_chateval_speaks_in_turn_and_votes_by_majority() -> None:
    calls: list[JudgeCall] = []

    def answer(call: JudgeCall) -> str:
        calls.append(call)
        if call.step.startswith("speak"):
            return f"I speak as number {call.step[-1]} in {call.order}."
        return {"vote_0": "Output (b)", "vote_1": "Output (a)", "vote_2": "Output (a)"}[call.step]

    verdict = replay_protocol(ChatEvalJudge(), PAIR, answer)
    assert len(calls) == 2 * 2 * len(ROLES)
    assert (verdict.original.winner, verdict.swapped.winner) == (1, 2)
    third = next(call for call in calls if call.step == "speak_2" and call.order == "original")
    text = third.messages[-1].content
    assert text.index("number 0 in original") < text.index("number 1 in original")
    assert "in swapped" not in text
    assert ROLES[2] in third.messages[0].content


def test_chateval_without_a_readable_vote_has_no_verdict() -> None:
    verdict = replay_protocol(ChatEvalJudge(mode="compat"), PAIR, lambda call: "hm")
    assert (verdict.original.winner, verdict.original.status) == (None, "unparsable")


def test_prompts_with_rules_have_them_and_the_others_do_not() -> None:
    folder = SHIPPED / "pairwise"
    for path in folder.rglob("*.txt"):
        without = "NoRules" in path.name or path.relative_to(folder).as_posix() == "auxiliary/Reference.txt"
        assert ("no more and no less" in path.read_text(encoding="utf-8")) != without, path


def test_a_failed_auxiliary_call_leaves_the_pair_without_a_verdict() -> None:
    def answer(call: JudgeCall) -> str | Failure:
        return Failure("timeout", "", "", 5) if call.step == "auxiliary_1" else truthful(call)

    verdict, calls = asked("metrics_reference", answer)
    assert verdict.original.status == verdict.swapped.status == "error: timeout"
    assert [call.step for call in calls] == ["auxiliary_0", "auxiliary_1"]


def test_an_empty_auxiliary_reply_is_a_reply() -> None:
    for nothing in ("", Failure("empty", "", "", 3)):
        verdict, _ = asked("reference", lambda call, n=nothing: n if call.step == "auxiliary_0" else truthful(call))
        assert verdict.winner == 1


def test_published_code_reads_what_a_filter_left() -> None:
    left = Failure("filtered", "", "", 1, text="Output (a)")
    for strategy in ("vanilla", "cot"):
        verdict = asked(strategy, lambda call: left, "strict")[0]
        assert (verdict.original.winner, verdict.original.status) == (None, "filtered")
    verdict = asked("vanilla", lambda call: left, "compat")[0]
    assert (verdict.original.winner, verdict.swapped.winner) == (1, 2)
    seen: list[str] = []

    def reference(call: JudgeCall) -> str | Failure:
        if call.step == "auxiliary_0":
            return Failure("filtered", "", "", 1, text="Half a poem")
        seen.extend(message.content for message in call.messages)
        return truthful(call)

    assert asked("reference", reference, "compat")[0].winner == 1
    assert any("Half a poem" in text for text in seen)


def test_a_filtered_auxiliary_reply_is_empty_as_published_and_missing_data_in_strict() -> None:
    def answer(call: JudgeCall) -> str | Failure:
        return Failure("filtered", "", "", 1) if call.step == "auxiliary_0" else truthful(call)

    assert asked("reference", answer, "compat")[0].winner == 1
    assert asked("reference", answer, "strict")[0].original.status == "filtered"
