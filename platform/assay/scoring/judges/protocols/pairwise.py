"""LLMBar's strategies: which of two outputs carries out the instruction better, asked in both orders.

Source: Zeng et al. 2023 (arXiv 2310.07641). A strategy is a row of `STRATEGIES`: the prompt that compares, the
auxiliary questions asked once per instance, and how the reply is read. Both orders always run, and a winner is
mapped back, so that 1 always means the instance's first output.

`compat` renders the texts as they are and reads replies as published (first pattern, first match, `int()`);
`strict` fences them, lets the last match decide and asks again, once by default, where a reply cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay.errors import ConfigError
from assay.llm.requests import Sampling
from assay.records import Mode
from assay.scoring.judges.asking import Reading, read_free_text, read_step
from assay.scoring.judges.calls import Exchange, JudgeCall, Order, Steps
from assay.scoring.judges.judgements import OK, Choice, PairVerdict, Winner
from assay.scoring.judges.parsing import (
    COT,
    LABEL,
    Patterns,
    compat_choice,
    compat_integer,
    is_contested,
    parse_score,
    strict_choice,
)
from assay.scoring.judges.prompting import Prompt
from assay.scoring.judges.protocols.prompted import StructuredJudge
from assay.scoring.judges.structured import choice_format, score_format

Auxiliary = Literal["metrics", "reference"]
_AUXILIARY_FILES: dict[Auxiliary, str] = {
    "metrics": "auxiliary/Metrics.txt",
    "reference": "auxiliary/Reference.txt",
}
_AUXILIARY_TOKENS: dict[Auxiliary, int] = {"metrics": 150, "reference": 384}
LABEL_TOKENS, COT_TOKENS, RATING_TOKENS = 50, 300, 50
"""Longest replies as published, in tokens; the temperature is 0 throughout."""
RATING_LOW, RATING_HIGH = 0.0, 9.0


@dataclass(frozen=True, slots=True)
class PairInstance:
    """Two outputs for one instruction."""

    input: str
    """The instruction, with its input where there is one."""
    output_1: str
    output_2: str


@dataclass(frozen=True, slots=True)
class Strategy:
    """A row of LLMBar's table."""

    name: str
    published: str
    """LLMBar's spelling."""
    prompt: str
    """File of the comparison (or rating) prompt, relative to the prompts folder."""
    reply: Literal["label", "cot", "rating"]
    auxiliary: tuple[Auxiliary, ...] = ()
    synthesis: str = ""
    """File of the prompt that decides between the two orders' explanations; empty where there is none."""
    synthesis_reply: Literal["label", "cot"] = "label"


STRATEGIES: dict[str, Strategy] = {
    row.name: row
    for row in (
        Strategy("vanilla_norules", "Vanilla_NoRules", "comparison/Vanilla_NoRules.txt", "label"),
        Strategy("vanilla", "Vanilla", "comparison/Vanilla.txt", "label"),
        Strategy("cot", "CoT", "comparison/CoT.txt", "cot"),
        Strategy("metrics", "Metrics", "comparison/Metrics.txt", "label", ("metrics",)),
        Strategy("reference", "Reference", "comparison/Reference.txt", "label", ("reference",)),
        Strategy(
            "metrics_reference",
            "Metrics_Reference",
            "comparison/Metrics_Reference.txt",
            "label",
            ("metrics", "reference"),
        ),
        Strategy("swap", "Swap", "comparison/CoT.txt", "cot", (), "swap_and_synthesize/Swap.txt", "label"),
        Strategy("swap_cot", "Swap_CoT", "comparison/CoT.txt", "cot", (), "swap_and_synthesize/Swap_CoT.txt", "cot"),
        Strategy("one_shot", "Vanilla_1shot", "comparison/Vanilla_1shot.txt", "label"),
        Strategy("two_shot", "Vanilla_2shot", "comparison/Vanilla_2shot.txt", "label"),
        Strategy("rating", "Rating", "rating/Rating.txt", "rating"),
        Strategy("rating_norules", "Rating_NoRules", "rating/Rating_NoRules.txt", "rating"),
        Strategy("rating_metrics", "Rating_Metrics", "rating/Rating_Metrics.txt", "rating", ("metrics",)),
        Strategy("rating_reference", "Rating_Reference", "rating/Rating_Reference.txt", "rating", ("reference",)),
        Strategy(
            "rating_metrics_reference",
            "Rating_Metrics_Reference",
            "rating/Rating_Metrics_Reference.txt",
            "rating",
            ("metrics", "reference"),
        ),
    )
}


def get_strategy(name: str) -> Strategy:
    """The strategy by our name or by LLMBar's, case ignored.

    Raises:
        ConfigError: no such strategy; lists the known ones.
    """
    wanted = name.strip().lower()
    for row in STRATEGIES.values():
        if wanted in (row.name, row.published.lower()):
            return row
    raise ConfigError(f"strategy {name!r}: unknown; known are {', '.join([*STRATEGIES, 'chateval'])}")


def patterns_from_configs(configs: Mapping[str, object], judge: str, strategy: str) -> dict[str, Patterns]:
    """Patterns per step for one judge and strategy, out of LLMBar's evaluator configurations.

    Args:
        configs: `"<judge>/<strategy>"` to a list of calls, each with `parsing` (None or `{"1": ..., "2": ...}`):
            the form of data/llmbar/judge_configs.json.
        judge: as in the file ("PaLM2"), case ignored.
        strategy: either spelling.

    Returns:
        `compare` and, where the strategy has one, `synthesize`; empty where the file does not name the pair.

    Raises:
        ConfigError: an entry has another form, or a pattern is no regular expression.
    """
    row = get_strategy(strategy)
    for key, calls in configs.items():
        owner, _, name = str(key).rpartition("/")
        if owner.lower() != judge.lower() or name.lower() not in (row.name, row.published.lower()):
            continue
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise ConfigError(f"patterns {key!r}: saw {type(calls).__name__}; expected a list of calls; fix the file")
        found = [Patterns.from_config(c["parsing"], f"patterns {key!r}") for c in calls if c.get("parsing") is not None]
        return dict(zip(("compare", "synthesize"), found, strict=False))
    return {}


@dataclass(frozen=True, kw_only=True)
class PairwiseJudge(StructuredJudge):
    """A strategy at work: `run` takes a `PairInstance` and returns a `PairVerdict`.

    Steps: `auxiliary_0`, `auxiliary_1` (once per instance, at once), `compare` (both orders at once; for the rating
    family `rate_1` and `rate_2`), and `synthesize` (both orders) where the orders named different winners.
    """

    shipped = "pairwise"

    strategy: Strategy
    compare_patterns: Patterns | None = None
    """None: the published pair for the kind of reply."""
    synthesize_patterns: Patterns | None = None

    @property
    def name(self) -> str:
        """The strategy's name."""
        return self.strategy.name

    def settings(self) -> dict[str, object]:
        """Patterns and prompts."""
        return {
            "patterns": [[p.first, p.second] for p in (self._patterns("compare"), self._patterns("synthesize"))],
            "prompts": {name: self._prompt(name).identity for name in self._files()},
        }

    def run(self, instance: PairInstance) -> Steps[PairVerdict]:
        """Asks in both orders; see the class."""
        notes, exchanges, failed = yield from self._auxiliary(instance)
        kind: Literal["label", "rating"] = "rating" if self.strategy.reply == "rating" else "label"
        if failed:  # a comparison without its questions or reference would be another strategy
            return PairVerdict(Choice(None, failed), Choice(None, failed), kind, exchanges)
        if self.strategy.reply == "rating":
            return (yield from self._rate(instance, notes, exchanges))
        compare = yield from self._decide("compare", self.strategy.prompt, instance, [notes, notes])
        exchanges = exchanges + _all_exchanges(compare)
        original, swapped = _choices(compare)
        if self.strategy.synthesis and {original.winner, swapped.winner} == {1, 2}:
            debates = [_debate(compare[0], compare[1], order, self.mode) for order in _ORDERS]
            decided = yield from self._decide("synthesize", self.strategy.synthesis, instance, debates)
            exchanges = exchanges + _all_exchanges(decided)
            original, swapped = _choices(decided)
        return PairVerdict(original, swapped, "label", exchanges)

    def _auxiliary(self, instance: PairInstance) -> Steps[tuple[dict[str, str], tuple[Exchange, ...], str]]:
        """Notes by slot, their exchanges, and why one is missing (empty: none is)."""
        kinds = self.strategy.auxiliary
        if not kinds:
            return {}, (), ""
        calls = []
        for index, kind in enumerate(kinds):
            # a fence says "do not follow what is inside": not around an instruction that is to be answered
            fenced = frozenset({"input"}) if kind == "metrics" else frozenset[str]()
            messages = self.filled(self._prompt(_AUXILIARY_FILES[kind]), {"input": instance.input}, fenced)
            calls.append(JudgeCall(f"auxiliary_{index}", messages, _sampling(_AUXILIARY_TOKENS[kind])))
        readings = yield from read_free_text(calls, self.mode)
        notes = {f"auxiliary_input_{index}": reading.said(self.mode) for index, reading in enumerate(readings)}
        failed = next((reading.status for reading in readings if reading.value is None), "")
        return notes, _all_exchanges(readings), failed

    def _decide(
        self, step: str, file: str, instance: PairInstance, values: Sequence[Mapping[str, str]]
    ) -> Steps[list[Reading[Winner]]]:
        """One verdict per order, in the order SHOWN: 1 is Output (a)."""
        reply = self.strategy.reply if step == "compare" else self.strategy.synthesis_reply
        calls = []
        for order, more in zip(_ORDERS, values, strict=True):
            shown = (instance.output_1, instance.output_2)
            first, second = shown if order == "original" else shown[::-1]
            slots = {"input": instance.input, "output_1": first, "output_2": second, **more}
            messages = self.filled(self._prompt(file), slots, frozenset(slots))
            asked = choice_format(explained=reply == "cot") if self.structured else None
            longest = COT_TOKENS if reply == "cot" else LABEL_TOKENS
            calls.append(JudgeCall(step, messages, _sampling(longest, asked), 0, order))
        patterns = self._patterns(step)
        read = compat_choice if self.mode == "compat" else strict_choice

        def parse(text: str) -> Winner | None:
            return read(text, patterns)

        steps: Steps[list[Reading[Winner]]] = read_step(
            calls, parse, self.reasks, mode=self.mode, contested=is_contested
        )
        return (yield from steps)

    def _rate(
        self, instance: PairInstance, notes: Mapping[str, str], exchanges: tuple[Exchange, ...]
    ) -> Steps[PairVerdict]:
        calls = []
        for number, output in enumerate((instance.output_1, instance.output_2), 1):
            slots = {"input": instance.input, "output": output, **notes}
            messages = self.filled(self._prompt(self.strategy.prompt), slots, frozenset(slots))
            asked = score_format(RATING_LOW, RATING_HIGH) if self.structured else None
            calls.append(JudgeCall(f"rate_{number}", messages, _sampling(RATING_TOKENS, asked)))
        readings = yield from read_step(calls, self._parse_rating, self.reasks, mode=self.mode)
        first, second = (reading.value for reading in readings)
        status = next((reading.status for reading in readings if reading.status != OK), OK)
        winner: Winner | None = None
        if first is not None and second is not None:
            winner = 0 if first == second else 1 if first > second else 2
        choice = Choice(winner, status, first, second)
        return PairVerdict(choice, choice, "rating", exchanges + _all_exchanges(readings))

    def _parse_rating(self, text: str) -> float | None:
        return compat_integer(text) if self.mode == "compat" else parse_score(text, RATING_LOW, RATING_HIGH)

    def _patterns(self, step: str) -> Patterns:
        if step == "compare":
            return self.compare_patterns or (COT if self.strategy.reply == "cot" else LABEL)
        return self.synthesize_patterns or (COT if self.strategy.synthesis_reply == "cot" else LABEL)

    def _files(self) -> list[str]:
        files = [*(_AUXILIARY_FILES[kind] for kind in self.strategy.auxiliary), self.strategy.prompt]
        return [*files, self.strategy.synthesis] if self.strategy.synthesis else files

    def _prompt(self, file: str) -> Prompt:
        folder = file.partition("/")[0]
        slots = {"input"}
        if folder == "rating":
            slots.add("output")
        elif folder != "auxiliary":
            slots |= {"output_1", "output_2"}
        if folder == "swap_and_synthesize":
            slots |= {"explanation_1", "explanation_2"}
        if folder in ("comparison", "rating"):
            slots |= {f"auxiliary_input_{index}" for index in range(len(self.strategy.auxiliary))}
        return self.prompt(file, frozenset(slots))


def make_pairwise_judge(
    strategy: str,
    mode: Mode = "strict",
    *,
    prompts_dir: Path | None = None,
    patterns: Mapping[str, Patterns] | None = None,
) -> PairwiseJudge:
    """A judge by strategy name (either spelling); `patterns` as `patterns_from_configs` gives them."""
    chosen = patterns or {}
    return PairwiseJudge(
        strategy=get_strategy(strategy),
        mode=mode,
        prompts_dir=prompts_dir,
        compare_patterns=chosen.get("compare"),
        synthesize_patterns=chosen.get("synthesize"),
    )


_ORDERS: tuple[Order, Order] = ("original", "swapped")


def map_back(shown: Winner | None, order: Order) -> Winner | None:
    """The winner among the instance's outputs, out of the winner among those shown."""
    if order != "swapped" or shown is None or shown == 0:
        return shown
    return 2 if shown == 1 else 1


def _choices(readings: Sequence[Reading[Winner]]) -> tuple[Choice, Choice]:
    original, swapped = (
        Choice(map_back(reading.value, order), reading.status) for reading, order in zip(readings, _ORDERS, strict=True)
    )
    return original, swapped


def _debate(original: Reading[Winner], swapped: Reading[Winner], order: Order, mode: Mode) -> dict[str, str]:
    """Both explanations with their labels rewritten to the order shown, the defender of Output (a) first.

    The winners differ, so each order's judge defends one output.
    """
    in_original_order = [(map_back(original.value, "original"), original.said(mode).strip())]
    in_original_order.append((map_back(swapped.value, "swapped"), exchange_labels(swapped.said(mode).strip())))
    first, second = (text for _, text in sorted(in_original_order, key=lambda pair: pair[0] or 0))
    if order == "swapped":
        first, second = exchange_labels(second), exchange_labels(first)
    return {"explanation_1": first, "explanation_2": second}


def exchange_labels(text: str) -> str:
    """The text with "Output (a)" and "Output (b)" exchanged, also where they are written small."""
    for word in ("Output", "output"):
        text = text.replace(f"{word} (a)", "\0").replace(f"{word} (b)", f"{word} (a)").replace("\0", f"{word} (b)")
    return text


def _all_exchanges(
    readings: Sequence[Reading[Winner]] | Sequence[Reading[str]] | Sequence[Reading[float]],
) -> tuple[Exchange, ...]:
    return tuple(item for reading in readings for item in reading.exchanges)


def _sampling(max_tokens: int, response_format: Mapping[str, Any] | None = None) -> Sampling:
    return Sampling(temperature=0.0, max_tokens=max_tokens, response_format=response_format)
