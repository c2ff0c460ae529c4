"""MT-Bench's judges: one answer rated `[[1]]` to `[[10]]`, and a pair judged `[[A]]`, `[[B]]` or `[[C]]`.

Source: Zheng et al. 2023 (arXiv 2306.05685). One or two turns; with references for math, reasoning and code. The
pair is asked in both orders, and verdicts that differ are a tie (`PairVerdict.consistent`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from assay.errors import ConfigError
from assay.llm.requests import Message, Sampling
from assay.scoring.judges.asking import Reading, read_step
from assay.scoring.judges.calls import JudgeCall, Order, Steps
from assay.scoring.judges.judgements import Choice, PairVerdict, PointwiseJudgement, Winner
from assay.scoring.judges.parsing import compat_bracket, is_contested, parse_score, strict_bracket
from assay.scoring.judges.prompting import Prompt
from assay.scoring.judges.protocols.pairwise import map_back
from assay.scoring.judges.protocols.prompted import PromptedJudge, StructuredJudge
from assay.scoring.judges.structured import score_format

LOW, HIGH = 1.0, 10.0
MAX_TOKENS = 2048
"""As published: the explanation comes first."""


@dataclass(frozen=True, slots=True)
class JudgedDialogue:
    """One or two questions and what one assistant answered; with references where there are any."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DialoguePair:
    """One or two questions and what two assistants answered."""

    questions: tuple[str, ...]
    answers_1: tuple[str, ...]
    answers_2: tuple[str, ...]
    references: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MtBenchSingle(StructuredJudge):
    """`run` takes a `JudgedDialogue` and returns a `PointwiseJudgement` on 1..10 of its last answer."""

    shipped = "mt_bench"

    @property
    def name(self) -> str:
        return "mt_bench_single"

    def settings(self) -> dict[str, object]:
        return {"prompts": _prompt_hashes(self, "single")}

    def messages(self, instance: JudgedDialogue) -> tuple[Message, ...]:
        """What is sent."""
        _turns(instance.questions, instance.answers, instance.references)
        values = {f"answer_{turn}": text for turn, text in enumerate(instance.answers, 1)}
        return _messages(self, "single", values, instance.questions, instance.references)

    def run(self, instance: JudgedDialogue) -> Steps[PointwiseJudgement]:
        asked = score_format(LOW, HIGH, explained=True) if self.structured else None
        sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS, response_format=asked)
        call = JudgeCall("score", self.messages(instance), sampling)
        parse = compat_double_bracket if self.mode == "compat" else _strict_score
        (reading,) = yield from read_step([call], parse, self.reasks, mode=self.mode)
        return PointwiseJudgement(reading.value, LOW, HIGH, reading.status, reading.exchanges)


@dataclass(frozen=True, kw_only=True)
class MtBenchPair(PromptedJudge):
    """`run` takes a `DialoguePair` and returns a `PairVerdict`; take its `consistent` winner."""

    shipped = "mt_bench"

    @property
    def name(self) -> str:
        return "mt_bench_pair"

    def settings(self) -> dict[str, object]:
        return {"prompts": _prompt_hashes(self, "pair")}

    def messages(self, instance: DialoguePair, order: Order) -> tuple[Message, ...]:
        """What is sent in this order; assistant A stands first."""
        turns = _turns(instance.questions, instance.answers_1, instance.references)
        if len(instance.answers_2) != turns:
            raise ConfigError(
                f"MT-Bench pair: saw {len(instance.answers_2)} answers to {turns} questions; expected one each"
            )
        first, second = instance.answers_1, instance.answers_2
        if order == "swapped":
            first, second = second, first
        values = {f"answer_a_{turn}": text for turn, text in enumerate(first, 1)}
        values |= {f"answer_b_{turn}": text for turn, text in enumerate(second, 1)}
        return _messages(self, "pair", values, instance.questions, instance.references)

    def run(self, instance: DialoguePair) -> Steps[PairVerdict]:
        """Both orders at once."""
        orders: tuple[Order, Order] = ("original", "swapped")
        sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
        calls = [JudgeCall("compare", self.messages(instance, order), sampling, 0, order) for order in orders]
        parse = compat_bracket if self.mode == "compat" else strict_bracket
        steps: Steps[list[Reading[Winner]]] = read_step(
            calls, parse, self.reasks, mode=self.mode, contested=is_contested
        )
        readings = yield from steps
        original, swapped = (
            Choice(map_back(reading.value, order), reading.status)
            for reading, order in zip(readings, orders, strict=True)
        )
        return PairVerdict(original, swapped, "label", tuple(e for reading in readings for e in reading.exchanges))


_DOUBLE = re.compile(r"\[\[(\d{1,15}\.?\d{0,15})\]\]")
_SINGLE = re.compile(r"\[(\d{1,15}\.?\d{0,15})\]")


def compat_double_bracket(text: str) -> float | None:
    """As published: the first `[[number]]`, else the first `[number]`; the range is not checked."""
    match = _DOUBLE.search(text) or _SINGLE.search(text)
    return float(match[1]) if match else None


def _strict_score(text: str) -> float | None:
    return parse_score(text, LOW, HIGH)


def _turns(questions: tuple[str, ...], answers: tuple[str, ...], references: tuple[str, ...]) -> int:
    if len(questions) not in (1, 2) or len(answers) != len(questions) or len(references) not in (0, len(questions)):
        raise ConfigError(
            f"MT-Bench: saw {len(questions)} questions, {len(answers)} answers and {len(references)} references; "
            "expected one or two questions with an answer each, and a reference each or none"
        )
    return len(questions)


def _file(kind: str, turns: int, references: bool) -> str:
    return f"{kind}{'_two_turns' if turns == 2 else ''}{'_reference' if references else ''}.txt"


def _prompt(judge: PromptedJudge, kind: str, turns: int, references: bool) -> Prompt:
    numbers = range(1, turns + 1)
    slots = {f"question_{turn}" for turn in numbers}
    for stem in ("answer",) if kind == "single" else ("answer_a", "answer_b"):
        slots |= {f"{stem}_{turn}" for turn in numbers}
    if references:
        slots |= {f"reference_{turn}" for turn in numbers}
    return judge.prompt(_file(kind, turns, references), frozenset(slots))


def _messages(
    judge: PromptedJudge,
    kind: str,
    answers: Mapping[str, str],
    questions: tuple[str, ...],
    references: tuple[str, ...],
) -> tuple[Message, ...]:
    values = {f"question_{turn}": text for turn, text in enumerate(questions, 1)}
    values |= {f"reference_{turn}": text for turn, text in enumerate(references, 1)}
    values |= answers
    return judge.filled(_prompt(judge, kind, len(questions), bool(references)), values, frozenset(values))


def _prompt_hashes(judge: PromptedJudge, kind: str) -> list[str]:
    return [_prompt(judge, kind, turns, references).identity for turns in (1, 2) for references in (False, True)]
