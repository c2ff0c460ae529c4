"""ChatEval as a pairwise strategy: judge roles speak in turn, then each votes, and the majority decides.

Source: Chan et al. 2023 (arXiv 2308.07201), one-by-one communication; the roles' wording is ours. Both orders are
discussed apart, the same turn of both at once. A majority of the readable votes names the winner; an even split of
them is a tie (0), no readable vote is None.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from assay.llm.requests import Sampling
from assay.scoring.judges.asking import Reading, read_free_text, read_step
from assay.scoring.judges.calls import Exchange, JudgeCall, Order, Steps
from assay.scoring.judges.judgements import OK, UNPARSABLE, Choice, PairVerdict, Winner
from assay.scoring.judges.parsing import LABEL, Patterns, compat_choice, is_contested, strict_choice
from assay.scoring.judges.protocols.pairwise import LABEL_TOKENS, PairInstance, map_back
from assay.scoring.judges.protocols.prompted import PromptedJudge

ROLES = (
    "Member of the public. You asked for this, and you judge whether the output would serve you.",
    "Critic. You look for what is wrong, missing or not asked for, in either output alike.",
    "Editor. You check, point by point, what the instruction says against what the output does.",
)
"""An odd number, so that readable votes cannot split evenly."""
SPEECH_TOKENS = 300
_SLOTS = frozenset({"input", "output_1", "output_2", "discussion", "role"})
_ORDERS: tuple[Order, Order] = ("original", "swapped")


@dataclass(frozen=True, kw_only=True)
class ChatEvalJudge(PromptedJudge):
    """`run` takes a `PairInstance` and returns a `PairVerdict`.

    Steps: `speak_0`, `speak_1`, ... (both orders at once), then `vote_0`, `vote_1`, ... (all at once).
    """

    shipped = "pairwise"

    roles: tuple[str, ...] = ROLES
    rounds: int = 1
    """How often each role speaks before the vote."""
    patterns: Patterns | None = None

    @property
    def name(self) -> str:
        return "chateval"

    def settings(self) -> dict[str, object]:
        """Roles, rounds, patterns and prompts."""
        patterns = self.patterns or LABEL
        return {
            "roles": list(self.roles),
            "rounds": self.rounds,
            "patterns": [patterns.first, patterns.second],
            "prompts": {file: self.prompt(file, _SLOTS).identity for file in _FILES},
        }

    def run(self, instance: PairInstance) -> Steps[PairVerdict]:
        """Discusses and votes in both orders."""
        said: dict[Order, list[str]] = {order: [] for order in _ORDERS}
        exchanges: list[Exchange] = []
        for turn in range(self.rounds * len(self.roles)):
            role = self.roles[turn % len(self.roles)]
            calls = [self._call(f"speak_{turn}", _FILES[0], instance, order, role, said[order]) for order in _ORDERS]
            speeches = yield from read_free_text(calls, self.mode)
            for order, speech in zip(_ORDERS, speeches, strict=True):
                exchanges.extend(speech.exchanges)
                if spoken := speech.said(self.mode).strip():
                    said[order].append(f"{role.partition('.')[0]}: {spoken}")
        calls = [
            self._call(f"vote_{number}", _FILES[1], instance, order, role, said[order])
            for order in _ORDERS
            for number, role in enumerate(self.roles)
        ]
        voting: Steps[list[Reading[Winner]]] = read_step(
            calls,
            self._parse,
            self.reasks,
            mode=self.mode,
            contested=is_contested,
        )
        votes = yield from voting
        exchanges.extend(item for vote in votes for item in vote.exchanges)
        original, swapped = (
            _count(votes[start : start + len(self.roles)], order)
            for start, order in zip((0, len(self.roles)), _ORDERS, strict=True)
        )
        return PairVerdict(original, swapped, "label", tuple(exchanges))

    def _parse(self, text: str) -> Winner | None:
        read = compat_choice if self.mode == "compat" else strict_choice
        return read(text, self.patterns or LABEL)

    def _call(
        self, step: str, file: str, instance: PairInstance, order: Order, role: str, said: list[str]
    ) -> JudgeCall:
        first, second = instance.output_1, instance.output_2
        if order == "swapped":
            first, second = second, first
        values = {"input": instance.input, "output_1": first, "output_2": second, "role": role}
        values["discussion"] = "\n\n".join(said) or "Nobody has spoken yet."
        messages = self.filled(self.prompt(file, _SLOTS), values, _SLOTS - {"role"})
        tokens = SPEECH_TOKENS if file == _FILES[0] else LABEL_TOKENS
        return JudgeCall(step, messages, Sampling(temperature=0.0, max_tokens=tokens), 0, order)


_FILES = ("chateval/Speak.txt", "chateval/Vote.txt")


def _count(votes: list[Reading[Winner]], order: Order) -> Choice:
    counts = Counter(vote.value for vote in votes if vote.value is not None)
    if not counts:
        return Choice(None, next((vote.status for vote in votes if vote.status != OK), UNPARSABLE))
    (winner, most), *rest = counts.most_common()
    return Choice(0 if rest and rest[0][1] == most else map_back(winner, order))
