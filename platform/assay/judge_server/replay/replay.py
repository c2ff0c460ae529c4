"""Recorded judges: a request is answered with the reply that was recorded for its instance, order and step.

The instance is found by its OWN texts (instruction, outputs) inside the prompt, longest match first, so that
another wording around them finds it too; the order is the order in which the outputs stand. A prompt that equals a
recorded one needs no search. Strategy and step come from the headers, and from the prompt where there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from assay.errors import ConfigError
from assay.judge_server.config import expand_files
from assay.judge_server.replay.instances import Found, Instance, InstanceIndex, flat
from assay.judge_server.replay.recordings import RecordedCall, instances_of, read_datasets, read_exchanges
from assay.judge_server.rubric.draws import request_hash
from assay.judge_server.server.exchange import JudgeRequest, NoReplyError, Reply

COMPARE, SYNTHESIZE = "compare", "synthesize"

_ALIASES = {
    "vanilla1shot": "oneshot",
    "vanilla2shot": "twoshot",
    "1shot": "oneshot",
    "2shot": "twoshot",
}
KNOWN_STRATEGIES = frozenset(
    re.findall(
        r"\w+",
        "vanilla vanillanorules cot metrics reference metricsreference swap swapcot oneshot twoshot chateval rating "
        "ratingnorules ratingmetrics ratingreference ratingmetricsreference",
    )
)
"""Names that a request means literally: asked for one that is not recorded, the server says so."""

_JUDGING = ("compare", "rat", "scor", "synth")
"""How the names of steps begin in which outputs are shown."""
_EXPLAINED = re.compile(r"[Oo]utput \([ab]\)")


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A strategy's or judge's name without case and punctuation: `Metrics_Reference` and `metrics_reference` are one.

    A protocol header may hold more than the strategy (`pairwise/cot`, `llmbar:cot:compat`): see `Replay`.
    """
    squeezed = re.sub(r"[^a-z0-9]+", "", name.lower())
    return _ALIASES.get(squeezed, squeezed)


@dataclass
class Recorded:
    """All exchanges of one (judge, strategy)."""

    judge: str
    strategy: str
    by_prompt: dict[bytes, Reply] = field(default_factory=dict)
    by_place: dict[tuple[Instance, str], dict[tuple[str, ...], Reply]] = field(default_factory=dict)
    """(instance, stage) to the outputs shown, in order, to the reply; auxiliary stages show none."""
    stages: dict[str, str] = field(default_factory=dict)
    """Stage to the template that it was recorded with."""
    models: set[str] = field(default_factory=set)


class Replay:
    """Answers with recorded replies. Immutable once built."""

    def __init__(
        self,
        exchanges: Iterable[RecordedCall],
        datasets: Iterable[tuple[str, int, tuple[str, str, str]]] = (),
        *,
        judge: str | None = None,
        strategy: str | None = None,
    ) -> None:
        """Indexes the exchanges.

        Args:
            exchanges: rows of any judges, strategies and subsets.
            datasets: (subset, index, (input, output_1, output_2)); what they lack is recovered from the exchanges.
            judge: whose rows to use; None uses all.
            strategy: of requests that do not name theirs.

        Raises:
            ConfigError: no row is left, or no row of that strategy.
        """
        rows = [row for row in exchanges if judge is None or _is_judge(row, judge)]
        if not rows:
            wanted = f"of judge {judge!r}" if judge else "at all"
            raise ConfigError(f"--replay: saw no exchange {wanted}; expected some; check --judge and the files")
        self._recorded: dict[tuple[str, str], Recorded] = {}
        instances = instances_of(rows, datasets)
        self._index = InstanceIndex(list(dict.fromkeys(instances.values())))
        for row in rows:
            self._add(row, instances.get((row.subset, row.index)))
        self._default = strategy
        if strategy is not None and not any(name == plain_name(strategy) for _, name in self._recorded):
            known = ", ".join(sorted({recorded.strategy for recorded in self._recorded.values()}))
            raise ConfigError(f"--strategy {strategy}: saw no exchange of it; recorded are {known}")

    @classmethod
    def from_files(
        cls, files: Sequence[Path], data: Sequence[Path], *, judge: str | None = None, strategy: str | None = None
    ) -> Replay:
        """Reads exchange files (folders stand for their files) and, where given, datasets.

        Raises:
            InputError: a file is missing or holds a line that is no exchange.
        """
        rows = [row for path in expand_files(tuple(files)) for row in read_exchanges(path)]
        return cls(rows, read_datasets(data), judge=judge, strategy=strategy)

    @property
    def models(self) -> tuple[str, ...]:
        """The recorded judges."""
        return tuple(dict.fromkeys(recorded.judge for recorded in self._recorded.values()))

    def replies(self, request: JudgeRequest, count: int) -> list[Reply]:
        """`count` copies of the recorded reply.

        Raises:
            NoReplyError: nothing is recorded for this request; says what was missing.
        """
        recorded = self._choose(request)
        prompt = _prompt_hash(request.messages)
        step = _plain_step(request.step)
        reply = next((found for one in recorded if (found := one.by_prompt.get(prompt)) is not None), None)
        if reply is None or len({one.by_prompt.get(prompt) for one in recorded} - {None}) > 1:
            reply = self._by_texts(request, recorded, step)
        return [reply] * count

    def _add(self, row: RecordedCall, instance: Instance | None) -> None:
        key = (plain_name(row.judge), plain_name(row.strategy))
        recorded = self._recorded.setdefault(key, Recorded(row.judge, row.strategy))
        recorded.models.add(plain_name(row.model))
        recorded.stages.setdefault(row.stage, row.template)
        reply = Reply(row.completion, row.finish_reason or "stop")
        recorded.by_prompt[_prompt_hash(row.messages)] = reply
        if instance is None:
            return
        shown: tuple[str, ...] = ()
        if not row.stage.startswith("aux"):
            shown = self._shown(row, instance)
        recorded.by_place.setdefault((instance, row.stage), {})[shown] = reply

    def _shown(self, row: RecordedCall, instance: Instance) -> tuple[str, ...]:
        alone = row.alone
        if alone is not None:
            return next(((output,) for output in instance.outputs if flat(output) == flat(alone)), (alone,))
        if row.swap is None:
            found = self._index.locate(row.text, instance)
            return found.shown if found else ()
        return instance.outputs[::-1] if row.swap else instance.outputs

    def _choose(self, request: JudgeRequest) -> list[Recorded]:
        """The recordings that may answer, by judge (header, model, or all) and strategy (header, or the default)."""
        candidates = list(self._recorded.values())
        wanted = request.judge or request.model
        named = [one for one in candidates if plain_name(wanted) in {plain_name(one.judge), *one.models}]
        judges = {plain_name(one.judge) for one in candidates}
        if named:
            candidates = named
        elif request.judge or len(judges) > 1:
            known = ", ".join(sorted({one.judge for one in candidates}))
            raise NoReplyError(f"no recorded judge {wanted!r}; recorded are {known}; name one as the model")
        strategy = request.protocol or self._default or ""
        if not strategy:
            return candidates
        chosen = [one for one in candidates if plain_name(one.strategy) in _strategy_names(strategy)]
        if not chosen and self._default and not _strategy_names(strategy) & KNOWN_STRATEGIES:
            # a protocol's name that is no strategy at all: the server's own strategy is meant
            chosen = [one for one in candidates if plain_name(one.strategy) == plain_name(self._default)]
        if not chosen:
            known = ", ".join(sorted({one.strategy for one in candidates}))
            raise NoReplyError(f"no recorded strategy {strategy!r}; recorded are {known}; send X-Assay-Protocol")
        return chosen

    def _by_texts(self, request: JudgeRequest, candidates: list[Recorded], step: str) -> Reply:
        if len(candidates) > 1:
            known = ", ".join(sorted(f"{one.judge}/{one.strategy}" for one in candidates))
            raise NoReplyError(f"several recordings fit ({known}); send X-Assay-Protocol, or start with --strategy")
        recorded = candidates[0]
        text = "\n\n".join(content for _, content in request.messages)
        last = next((content for role, content in reversed(request.messages) if role == "user"), text)
        found = self._index.find(last) or self._index.find(text)
        if found is None:
            raise NoReplyError("no recorded instance's texts (instruction, outputs) are in this prompt")
        stage = self._stage(recorded, found, step, text, last)
        replies = recorded.by_place.get((found.instance, stage), {})
        where = f"{found.instance.subset} {found.instance.index}, {recorded.judge}/{recorded.strategy}"
        if not replies and stage.startswith("aux"):
            have = ", ".join(sorted(name for (one, name) in recorded.by_place if one is found.instance)) or "none"
            raise NoReplyError(f"instance {where}: no recorded step {stage!r}; recorded are {have}")
        shown = () if stage.startswith("aux") else found.shown
        reply = None
        if step in recorded.stages or stage.startswith("aux") or stage == SYNTHESIZE:
            reply = replies.get(shown) or _rated(replies, found)
        if reply is None and not stage.startswith("aux") and stage != SYNTHESIZE:
            # ratings of the two outputs may be recorded as steps of their own: what is shown tells them apart
            replies = {
                place: answer
                for name in _comparing(recorded)
                for place, answer in recorded.by_place.get((found.instance, name), {}).items()
            }
            reply = replies.get(shown) or _rated(replies, found)
        if reply is None:
            seen = f"{len(shown)} output(s) shown"
            raise NoReplyError(f"instance {where}, step {stage!r}: this order is not recorded ({seen})")
        return reply

    def _stage(self, recorded: Recorded, found: Found, step: str, text: str, last: str) -> str:
        """The recorded stage that the header names, or that the prompt looks like."""
        if step in recorded.stages:
            return step
        auxiliary = sorted(stage for stage in recorded.stages if stage.startswith("aux"))
        for stage in auxiliary:
            named = plain_name(Path(recorded.stages[stage]).stem)
            if step and plain_name(step) in (named, named + "s", "questions" if named == "metrics" else named):
                return stage
        if (found.shown or step.startswith(_JUDGING)) and not step.startswith("aux"):
            debates = step.startswith("synth") or self._debates(recorded, found.instance, text)
            if SYNTHESIZE in recorded.stages and debates:
                return SYNTHESIZE
            plain = _comparing(recorded)
            return plain[0] if len(plain) == 1 else COMPARE if COMPARE in plain or not plain else plain[0]
        if len(auxiliary) == 1:
            return auxiliary[0]
        if auxiliary and not step:
            # the judge's own answer is asked for with the bare instruction, questions with rules around it
            bare = len(last) <= len(found.instance.instruction) + 80  # room for a fence
            for stage in auxiliary:
                if bare == (plain_name(Path(recorded.stages[stage]).stem) == "reference"):
                    return stage
        return step or COMPARE

    def _debates(self, recorded: Recorded, instance: Instance, text: str) -> bool:
        """Whether the prompt quotes a recorded explanation, whatever labels it was rewritten to."""
        for reply in recorded.by_place.get((instance, COMPARE), {}).values():
            part = max((piece.strip() for piece in _EXPLAINED.split(reply.text)), key=len)
            if len(part) >= 20 and part in text:
                return True
        return False


def _comparing(recorded: Recorded) -> list[str]:
    """The stages in which outputs are compared or rated for the first time."""
    return [stage for stage in recorded.stages if not stage.startswith("aux") and stage != SYNTHESIZE]


def _rated(replies: Mapping[tuple[str, ...], Reply], found: Found) -> Reply | None:
    """Of single ratings, that of the longest output in the prompt: a short one may stand there by chance.

    Where no output is seen it was an empty one.
    """
    alone = [shown for shown in replies if len(shown) == 1 and shown[0] in (found.shown or ("",))]
    return replies[max(alone, key=lambda shown: len(shown[0]))] if alone else None


def _strategy_names(protocol: str) -> set[str]:
    """What a protocol header may mean: all of it, or any of its parts."""
    parts = [part for part in re.split(r"[/:@ ,;.]+", protocol) if part]
    return {plain_name(protocol), *(plain_name(part) for part in parts)}


def _plain_step(step: str) -> str:
    step = step.strip().lower()
    match = re.fullmatch(r"aux(?:iliary)?[_ -]?(\d+)", step)
    return f"auxiliary_{match.group(1)}" if match else step


def _is_judge(row: RecordedCall, judge: str) -> bool:
    return plain_name(judge) in (plain_name(row.judge), plain_name(row.model))


def _prompt_hash(messages: Iterable[tuple[str, str]]) -> bytes:
    return request_hash(*(part for message in messages for part in message))
