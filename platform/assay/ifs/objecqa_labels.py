"""ObjecQA's judge: labels for the answers that trials left, and its accuracy on the labelled sample.

One artifact of kind "objecqa" per adapter and judge: a line per evaluation and question, raw replies kept. Replies come
through the gateway and its ledger, so equal answers at two evaluations are judged once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.fingerprint import artifact_key
from assay.ifs.objecqa import labelled_answers
from assay.ifs.trial_hook import OBJECQA_FILE
from assay.judging.asking import JudgeConnection, Work, ask_judge
from assay.scoring.judges.protocols.labelers import objecqa_labeler
from assay.scoring.judges.protocols.pointwise import PointwiseInstance

if TYPE_CHECKING:
    from assay.hooks import Progress
    from assay.llm.figures import GatewayStats
    from assay.records import Mode
    from assay.scoring.protocol import ScorerSpec
    from assay.store import Store

KIND = "objecqa"
SCHEMA = 1
LABELS_FILE = "labels.parquet"
SAMPLE = "labelled sample"
"""Stands for an adapter in the key of the judge's own test."""
NO_ANSWER = "no answer"


@dataclass(frozen=True)
class ObjecqaLabels:
    """Whose answers are to be judged, by whom."""

    judge: ScorerSpec
    adapters: tuple[str, ...]

    def key(self, adapter: str) -> str:
        """Of the labels of an adapter's answers, or of the labelled sample."""
        # nearly whole: the first labels were named so, cost and path with them
        judge = self.judge.model_dump(mode="json", exclude={"source"})
        return artifact_key(KIND, SCHEMA, judge, {"answers": adapter})

    @property
    def keys(self) -> dict[str, str]:
        """Adapter (or SAMPLE) -> key of its labels."""
        return {name: self.key(name) for name in (*self.adapters, SAMPLE)}

    def is_done(self, store: Store) -> bool:
        """Whether all labels are stored."""
        return all(store.exists(KIND, key) for key in self.keys.values())


def judge_answers(
    store: Store, plan: ObjecqaLabels, connection: JudgeConnection, mode: Mode, progress: Progress
) -> GatewayStats | None:
    """Ask the judge about what has no labels yet and store them; None where nothing was missing.

    Raises:
        EndpointError: nothing answers, or key or model are refused.
        LimitReached: the dollars are used up; the same command continues.
    """
    missing = {name: key for name, key in plan.keys.items() if not store.exists(KIND, key)}
    if not missing:
        return None
    rows = {name: _rows(store, name) for name in missing}
    works = [Work(objecqa_labeler(mode), [_instance(row) for row in part if row["answer"]]) for part in rows.values()]
    asked = ask_judge(connection, works, mode, progress)
    for (name, part), judgements in zip(rows.items(), asked.judgements, strict=True):
        found = iter(judgements)
        labelled = [_labelled(row, next(found) if row["answer"] else None) for row in part]
        with store.writing(KIND, missing[name], {"judge": plan.judge, "answers": name}) as artifact:
            artifact.table(LABELS_FILE, _table(labelled))
            artifact.json("unscored.json", dict(Counter(row["unscored"] for row in labelled if row["unscored"])))
    return asked.stats


def read_labels(store: Store, plan: ObjecqaLabels, adapter: str) -> list[dict[str, Any]]:
    """step, question_id, label, unscored, reply of every answer of an adapter (of SAMPLE: with `expected`)."""
    rows: list[dict[str, Any]] = store.read_table(KIND, plan.key(adapter), LABELS_FILE).to_pylist()
    return rows


def _rows(store: Store, name: str) -> list[dict[str, Any]]:
    if name != SAMPLE:
        rows: list[dict[str, Any]] = store.read_table("adapter", name, OBJECQA_FILE).to_pylist()
        return [{**row, "expected": ""} for row in rows]
    return [
        {
            "step": 0,
            "question_id": f"{row.part}-{at:03d}",
            "question": row.question,
            "answer": row.answer,
            "expected": row.label,
        }
        for at, row in enumerate(labelled_answers())
    ]


def _instance(row: dict[str, Any]) -> PointwiseInstance:
    return PointwiseInstance(row["question"], row["answer"])


def _labelled(row: dict[str, Any], judgement: Any) -> dict[str, Any]:
    reply = "" if judgement is None else next((e.text for e in reversed(judgement.exchanges) if e.text is not None), "")
    label = "" if judgement is None else judgement.label
    return {
        "step": row["step"],
        "question_id": row["question_id"],
        "expected": row["expected"],
        "label": label,
        "unscored": "" if label else NO_ANSWER if judgement is None else judgement.status,
        "reply": reply,
    }


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    import pyarrow as pa

    names = ("question_id", "expected", "label", "unscored", "reply")
    schema = pa.schema([("step", pa.int64()), *((name, pa.string()) for name in names)])
    return pa.Table.from_pylist(list(rows), schema=schema)
