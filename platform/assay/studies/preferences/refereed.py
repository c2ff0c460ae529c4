"""Answers of reported arms against answers of their start, compared by a judge in both orders.

The judge is another than the one that labelled the pairs, so that a method which learnt the labeller's taste does not
win by it. Verdicts are artifacts; two equal answers are a tie that nobody is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from assay.fingerprint import artifact_key
from assay.hooks import Progress
from assay.judging.asking import JudgeConnection, Work, ask_judge, calls_of, check_answered
from assay.llm.endpoint import EndpointSpec
from assay.preference.comparing import OrderedVerdicts
from assay.preference.rows import prompt_of, question_text
from assay.records import Example, Mode
from assay.scoring.jobs import judge_spec
from assay.scoring.judges.judgements import OK, Choice, PairVerdict
from assay.scoring.judges.protocols.pairwise import PairInstance, PairwiseJudge, make_pairwise_judge
from assay.scoring.protocol import ScorerSpec
from assay.store import Store

KIND = "verdicts"
SCHEMA_VERSION = 1
FILE = "verdicts.parquet"
NAME = "referee"
SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("original", pa.int64()),
        pa.field("swapped", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
    ]
)
"""1: the arm's answer is better, 2: the start's, 0: a tie, null: no verdict; `status` of the worse of both orders."""


@dataclass(frozen=True)
class Match:
    """The answers of one training, each against one of the start's to the same prompt."""

    answers: str
    """Key of the training's predictions."""
    start: str
    """Key of the start's."""
    place: int
    """Which of the start's answers to a prompt."""

    def key(self, referee: ScorerSpec) -> str:
        """Of its verdicts."""
        spec = {"referee": referee, "place": self.place}
        return artifact_key(KIND, SCHEMA_VERSION, spec, {"answers": self.answers, "start": self.start})


def referee_protocol(strategy: str, mode: Mode) -> PairwiseJudge:
    """How the referee is asked."""
    return make_pairwise_judge(strategy, mode)


def referee_spec(strategy: str, mode: Mode, endpoint: EndpointSpec) -> ScorerSpec:
    """The referee, as its verdicts are keyed by it."""
    return judge_spec(NAME, referee_protocol(strategy, mode), endpoint)


@dataclass(frozen=True)
class Texts:
    """Both sides of a match, by example; what failed is absent."""

    arm: Mapping[str, str]
    start: Mapping[str, str]


def play(
    store: Store,
    matches: Mapping[str, Texts],
    examples: Sequence[Example],
    protocol: PairwiseJudge,
    connection: JudgeConnection,
    progress: Progress,
) -> int:
    """Ask about all matches, by key, and store their verdicts; how many pairs were put before the judge.

    Raises:
        EndpointError: no call brought a reply.
        LimitReached: the dollars are used up; the same command continues.
        StageError: no reply could be read.
    """
    asked = {key: [row for row in examples if _differ(texts, row.example_id)] for key, texts in matches.items()}
    works = [
        Work(protocol, [_instance(row, matches[key]) for row in rows], "answers against the start's")
        for key, rows in asked.items()
    ]
    found = ask_judge(connection, works, protocol.mode, progress)
    check_answered(calls_of(found))
    for (key, rows), judgements in zip(asked.items(), found.judgements, strict=True):
        known = {row.example_id: verdict for row, verdict in zip(rows, judgements, strict=True)}
        table = [_row(row.example_id, matches[key], known) for row in examples]
        with store.writing(KIND, key, {"judge": connection.judge}) as artifact:
            artifact.table(FILE, pa.Table.from_pylist([row for row in table if row is not None], schema=SCHEMA))
    return sum(map(len, asked.values()))


def read_verdicts(store: Store, key: str) -> dict[str, OrderedVerdicts]:
    """Verdicts of a match by example; empty where it was not played."""
    if not store.exists(KIND, key):
        return {}
    rows = store.read_table(KIND, key, FILE).to_pylist()
    return {row["example_id"]: OrderedVerdicts(row["original"], row["swapped"]) for row in rows}


def _differ(texts: Texts, name: str) -> bool:
    arm, start = texts.arm.get(name), texts.start.get(name)
    return arm is not None and start is not None and arm.strip() != start.strip()


def _instance(row: Example, texts: Texts) -> PairInstance:
    question = question_text(prompt_of(row))
    return PairInstance(question, texts.arm[row.example_id], texts.start[row.example_id])


def _row(name: str, texts: Texts, known: Mapping[str, PairVerdict]) -> dict[str, object] | None:
    """A row of the table; None where a side has no answer."""
    if name not in texts.arm or name not in texts.start:
        return None
    tie = Choice(0)
    verdict = known.get(name, PairVerdict(tie, tie))
    status = next((one.status for one in (verdict.original, verdict.swapped) if one.status != OK), OK)
    both = {"original": verdict.original.winner, "swapped": verdict.swapped.winner}
    return {"example_id": name, **both, "status": status}
