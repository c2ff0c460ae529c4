"""MT-Bench's judges: one answer rated `[[1]]` to `[[10]]`, and a pair judged `[[A]]`, `[[B]]` or `[[C]]`.

Source: Zheng et al. 2023 (arXiv 2306.05685). One or two turns; with references for math, reasoning and code. The
pair is asked in both orders, and verdicts that differ are a tie (`PairVerdict.consistent`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.errors import ConfigError
from assay.llm.requests import Message, Sampling
from assay.records import Mode
from assay.scoring.judges.asking import Reading, read_step, readers_version
from assay.scoring.judges.calls import JudgeCall, Order, Steps
from assay.scoring.judges.judgements import Choice, PairVerdict, PointwiseJudgement, Winner
from assay.scoring.judges.parsing import compat_bracket, is_contested, parse_score, strict_bracket
from assay.scoring.judges.prompting import SHIPPED, Prompt, fill, load_prompt
from assay.scoring.judges.protocols.pairwise import map_back
from assay.scoring.judges.structured import check_structured, identity_of, score_format

LOW, HIGH = 1.0, 10.0
MAX_TOKENS = 2048
"""As published: the explanation comes first."""
MT_BENCH_PROMPTS = SHIPPED / "mt_bench"


@dataclass(frozen=True, slots=True)
class Dialogue:
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


@dataclass(frozen=True)
class MtBenchSingle:
    """`run` takes a `Dialogue` and returns a `PointwiseJudgement` on 1..10 of its last answer."""

    mode: Mode = "strict"
    prompts_dir: Path = MT_BENCH_PROMPTS
    max_reasks: int = 1
    structured: bool = False
    """Ask for a JSON schema (endpoints with structured output, `strict` only); the same parser reads the reply."""

    def __post_init__(self) -> None:
        check_structured(self.name, self.mode, self.structured)

    @property
    def name(self) -> str:
        """`mt_bench_single`."""
        return "mt_bench_single"

    def identity(self) -> dict[str, object]:
        """All that shapes the judgement apart from the model."""
        identity = _identity(self.name, self.mode, self.max_reasks, self.prompts_dir, "single")
        return identity | identity_of(self.structured)

    def messages(self, instance: Dialogue) -> tuple[Message, ...]:
        """What is sent."""
        turns = _turns(instance.questions, instance.answers, instance.references)
        values = {f"answer_{turn}": text for turn, text in enumerate(instance.answers, 1)}
        return _fill(self.mode, self.prompts_dir, "single", turns, values, instance.questions, instance.references)

    def run(self, instance: Dialogue) -> Steps[PointwiseJudgement]:
        """One call."""
        asked = score_format(LOW, HIGH, explained=True) if self.structured else None
        sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS, response_format=asked)
        call = JudgeCall("score", self.messages(instance), sampling)
        parse = compat_double_bracket if self.mode == "compat" else _strict_score
        reasks = self.max_reasks if self.mode == "strict" else 0
        (reading,) = yield from read_step([call], parse, reasks, mode=self.mode)
        return PointwiseJudgement(reading.value, LOW, HIGH, reading.status, reading.exchanges)


@dataclass(frozen=True)
class MtBenchPair:
    """`run` takes a `DialoguePair` and returns a `PairVerdict`; take its `consistent` winner."""

    mode: Mode = "strict"
    prompts_dir: Path = MT_BENCH_PROMPTS
    max_reasks: int = 1

    @property
    def name(self) -> str:
        """`mt_bench_pair`."""
        return "mt_bench_pair"

    def identity(self) -> dict[str, object]:
        """All that shapes the verdict apart from the model."""
        return _identity(self.name, self.mode, self.max_reasks, self.prompts_dir, "pair")

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
        return _fill(self.mode, self.prompts_dir, "pair", turns, values, instance.questions, instance.references)

    def run(self, instance: DialoguePair) -> Steps[PairVerdict]:
        """Both orders at once."""
        orders: tuple[Order, Order] = ("original", "swapped")
        sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
        calls = [JudgeCall("compare", self.messages(instance, order), sampling, 0, order) for order in orders]
        parse = compat_bracket if self.mode == "compat" else strict_bracket
        reasks = self.max_reasks if self.mode == "strict" else 0
        steps: Steps[list[Reading[Winner]]] = read_step(calls, parse, reasks, mode=self.mode, contested=is_contested)
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


def _prompt(folder: Path, kind: str, turns: int, references: bool) -> Prompt:
    numbers = range(1, turns + 1)
    slots = {f"question_{turn}" for turn in numbers}
    for stem in ("answer",) if kind == "single" else ("answer_a", "answer_b"):
        slots |= {f"{stem}_{turn}" for turn in numbers}
    if references:
        slots |= {f"reference_{turn}" for turn in numbers}
    return load_prompt(folder, _file(kind, turns, references), frozenset(slots))


def _fill(
    mode: Mode,
    folder: Path,
    kind: str,
    turns: int,
    answers: Mapping[str, str],
    questions: tuple[str, ...],
    references: tuple[str, ...],
) -> tuple[Message, ...]:
    values = {f"question_{turn}": text for turn, text in enumerate(questions, 1)}
    values |= {f"reference_{turn}": text for turn, text in enumerate(references, 1)}
    values |= answers
    prompt = _prompt(folder, kind, turns, bool(references))
    return fill(prompt, values, fenced=frozenset(values) if mode == "strict" else frozenset())


def _identity(name: str, mode: Mode, max_reasks: int, folder: Path, kind: str) -> dict[str, object]:
    prompts = [_prompt(folder, kind, turns, references) for turns in (1, 2) for references in (False, True)]
    return {
        "protocol": name,
        "mode": mode,
        "version": readers_version(mode),
        "max_reasks": max_reasks if mode == "strict" else 0,
        "prompts": [prompt.identity for prompt in prompts],
    }
