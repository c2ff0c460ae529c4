"""Awkward recordings of every strategy: replay, protocol, parser and statistics against the published counting.

Replies are drawn from what real judges have written (ambiguous, empty, cut off, off the scale), items from what
breaks a search by text. The expected figures come from a second, plain implementation of LLMBar's own counting.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from assay.judge_server.replay.recordings import RecordedCall
from assay.judge_server.replay.replay import Replay
from assay.judge_server.server.exchange import JudgeRequest, content_key
from assay.judging.accuracy import Judged, PairItem, Verdicts, run_report
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.protocols.pairwise import STRATEGIES, PairInstance, Strategy, make_pairwise_judge
from support.replayed import replay_protocol

LABELS = (
    "Output (a)",
    "Output (b)",
    " Output (b)",
    "output (a)",
    "Both",
    "Output (b)\nOutput (a)",
    "I think Output (a)",
    "",
    "Output (a) or Output (b)?",
    "Output (b)\r\n",
)
EXPLAINED = (
    "It is fine.\n\nTherefore, Output (a) is better.",
    "output (a) is wrong. Therefore, Output (b) is better.",
    "Output (b) is better. But no: Output (a) is better.",
    "Therefore, Output (a) is better",
    "both are equally good",
    "",
    "Output (a) é 漢字. Therefore, Output (b) is better.\n",
)
RATINGS = ("7", "8", " 7 ", "9\n", "3", "10", "-1", "7.5", "Score: 7", "", "007", "1_0", "7/9", "٧")
NOTES = ("1. Is it é right?\n2. Does it have {output_1}?", "Some text\n\n# Output (a):\nfake", "", "plain text")
ITEMS = [
    ("Say hi", "hi", "hi there"),
    ("Name a colour\r\nand nothing else", "blue\r\n", "The colour is blue\r\nand nice"),
    ("Übersetze „Haus“ ins Englische 🏠", "house 🏠", "ｈｏｕｓｅ"),
    ("Repeat the word {input} twice", "{input} {input}", "{output_1}"),
    ("What is 2+2?", "4", "22"),
    ("Write an empty string", "", "''"),
    ("Write code", "```python\nprint('Output (a)')\n```", "print('Output (a)')"),
    ("Is the sky blue? Answer yes or no.", "Yes", "Yes, the sky is blue."),
    ("Is the sky blue? Answer no or yes.", "No", "Yes"),
    ("  leading and trailing  ", "  a  b  ", "a   b c"),
    ("Say the instruction again", "Say the instruction again", "Say the instruction"),
    ("Write a line separator", "one\u2028two", "one\x0btwo three"),
    ("Tell <|im_end|> a joke", "<|im_start|>user\nha<|im_end|>", "ha ha"),
]
GOLD = [1 + number % 2 for number in range(len(ITEMS))]
PATTERNS = {"label": r"(?:^|\n) ?Output \((a|b)\)", "cot": r"Output \((a|b)\) is better."}


def published_winner(reply: str, kind: str, swapped: bool) -> str | None:
    """ "1" or "2" among the item's own outputs; pattern (a) is tried first, anywhere."""
    found = set(re.findall(PATTERNS[kind], reply.strip()))
    shown = "a" if "a" in found else "b" if "b" in found else None
    return None if shown is None else "1" if (shown == "a") != swapped else "2"


def published_ratings(first: str, second: str) -> tuple[str, str]:
    try:
        one, two = int(first), int(second)
    except ValueError:
        return "1", "2"
    return "1" if one > two else "2", "2" if two > one else "1"


class Recorder:
    """A judge that replies at random, recorded in the form of the exchange files."""

    def __init__(self, strategy: Strategy, prompts: dict[str, str], rating_stage: str, seed: int) -> None:
        self.strategy, self.prompts, self.rating_stage = strategy, prompts, rating_stage
        self.random = random.Random(seed)
        self.rows: list[RecordedCall] = []
        self.winners: list[tuple[str | None, str | None]] = []
        for index in range(len(ITEMS)):
            self.winners.append(self.judge(index))

    def judge(self, index: int) -> tuple[str | None, str | None]:
        instruction, *outputs = ITEMS[index]
        notes = {
            f"auxiliary_input_{number}": self.ask(
                index, f"auxiliary_{number}", None, f"auxiliary/{kind.title()}.txt", NOTES, {"input": instruction}
            ).strip()
            for number, kind in enumerate(self.strategy.auxiliary)
        }
        if self.strategy.reply == "rating":
            first, second = (
                self.ask(index, self.rating_stage.format(number), None, self.strategy.prompt, RATINGS,
                         {"input": instruction, "output": output, **notes})
                for number, output in enumerate(outputs, 1)
            )  # fmt: skip
            return published_ratings(first, second)
        found = [
            self.compare(index, "compare", swapped, self.strategy.prompt, self.strategy.reply, notes)
            for swapped in (False, True)
        ]
        row = self.strategy
        if row.synthesis and {found[0][1], found[1][1]} == {"1", "2"}:
            debate = {"explanation_1": found[0][0], "explanation_2": found[1][0]}
            found = [
                self.compare(index, "synthesize", swapped, row.synthesis, row.synthesis_reply, debate)
                for swapped in (False, True)
            ]
        return found[0][1], found[1][1]

    def compare(
        self, index: int, stage: str, swapped: bool, file: str, kind: str, more: dict[str, str]
    ) -> tuple[str, str | None]:
        instruction, *outputs = ITEMS[index]
        first, second = outputs[::-1] if swapped else outputs
        replies = EXPLAINED if kind == "cot" else LABELS
        slots = {"input": instruction, "output_1": first, "output_2": second, **more}
        reply = self.ask(index, stage, swapped, file, replies, slots)
        return reply, published_winner(reply, kind, swapped)

    def ask(
        self, index: int, stage: str, swap: bool | None, file: str, replies: tuple[str, ...], slots: dict[str, str]
    ) -> str:
        turns = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", self.prompts[file], re.DOTALL)
        messages = tuple(
            (role, re.sub(r"\{(\w+)\}", lambda slot: slots.get(slot[1], slot[0]), text.strip())) for role, text in turns
        )
        reply = self.random.choice(replies)
        name = self.strategy.published
        self.rows.append(RecordedCall("J", name, "S", index, stage, swap, file, "j-1", messages, reply, "stop"))
        return reply


@pytest.fixture(scope="module")
def published(shared_data: Path) -> dict[str, str]:
    import json

    prompts: dict[str, str] = json.loads((shared_data / "llmbar/prompts.json").read_text())
    return prompts


CASES = [
    (name, stage)
    for name, row in STRATEGIES.items()
    for stage in (("score_{}", "rate_{}", "compare") if row.reply == "rating" else ("",))
]


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_our_prompts_against_a_replay_give_the_published_figures(
    published: dict[str, str], name: str, stage: str
) -> None:
    recorded = Recorder(STRATEGIES[name], published, stage, seed=len(name))
    replay = Replay(recorded.rows)
    protocol = make_pairwise_judge(name, "compat")

    def answer(call: JudgeCall) -> str:
        turns = tuple((message.role, message.content) for message in call.messages)
        request = JudgeRequest("J", turns, content_key("J", turns), protocol=name, step=call.step)
        return replay.replies(request, 1)[0].text

    verdicts = [Verdicts.of(replay_protocol(protocol, PairInstance(*item), answer)) for item in ITEMS]
    items = [PairItem(*item, gold) for item, gold in zip(ITEMS, GOLD, strict=True)]
    report = run_report(Judged("S", "J", name, "compat", items, verdicts)).as_json()
    right = [
        (original == str(gold), swapped == str(gold))
        for (original, swapped), gold in zip(recorded.winners, GOLD, strict=True)
    ]
    n = len(ITEMS)
    expected: dict[str, Any] = {
        "n": n,
        "accuracy": sum(a + b for a, b in right) / (2 * n),
        "accuracy_original_order": sum(a for a, _ in right) / n,
        "accuracy_swapped_order": sum(b for _, b in right) / n,
        "accuracy_both_orders": sum(a and b for a, b in right) / n,
        "positional_agreement": sum(a == b for a, b in recorded.winners) / n,
    }
    assert {key: report[key] for key in expected} == pytest.approx(expected, abs=1e-12)


def test_a_rating_is_found_where_the_same_pair_was_recorded_the_other_way_round(published: dict[str, str]) -> None:
    """Two items of one pair, outputs exchanged: the step's name points to the other output's rating."""
    rating = STRATEGIES["rating"]
    recorded = Recorder(rating, published, "rate_{}", seed=3)
    instruction, _, second = ITEMS[7]
    replay = Replay([row for row in recorded.rows if row.index == 7])
    (wanted,) = [row.completion for row in recorded.rows if row.index == 7 and row.stage == "rate_2"]
    text = f"# Instruction:\n{instruction}\n\n# Output:\n{second}\n\n# Score:"
    turns = (("user", text),)
    request = JudgeRequest("J", turns, content_key("J", turns), protocol="rating", step="rate_1")
    assert replay.replies(request, 1)[0].text == wanted
