"""Public texts with human scores, as rows that every scorer can take: the data of the human benchmark.

A set is a folder of files (SummEval, Topical-Chat, and BARTScore's human_scores). Human scales are brought to 0..1,
and where people judged several attributes a set's own score is their mean. Texts without references are compared with
their source, and the set says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import DataError
from assay.metaeval.statistics.estimate import FloatArray
from assay.row_files import Row, read_rows
from assay.scoring.judges.parsing import parse_score
from assay.scoring.judges.parsing.thinking import mean_spoken

GROUND_TRUTH = "Original Ground Truth"
"""Topical-Chat's own answer, which serves as the reference of the other systems."""
IS_REFERENCE = "is the reference itself"


@dataclass(frozen=True)
class HumanSet:
    """Scored texts of one task. Axes: N texts."""

    name: str
    reference: str
    """What a text is compared with, in words."""
    has_references: bool
    """Whether that was written by people as a reference; else it is the source."""
    docs: tuple[str, ...]
    """Document of each text: the unit of resampling."""
    systems: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    """Of each text; empty where it is the reference itself."""
    attributes: Mapping[str, FloatArray]
    """Human scores in 0..1, shape (N,)."""
    human: FloatArray
    """The set's own score, shape (N,)."""
    human_is: str
    """What that score is, in words."""
    annotators: Mapping[str, FloatArray] = field(default_factory=dict)
    """Attribute -> scores of each annotator, shape (A, N)."""
    judges: Mapping[tuple[str, str], FloatArray] = field(default_factory=dict)
    """(judge, attribute) -> scores that our parser read from recorded replies, NaN where it found none or there is no
    reply."""

    @property
    def num_rows(self) -> int:
        return len(self.outputs)


def read_sets(data: Path) -> list[HumanSet]:
    """All sets that a folder holds, in a fixed order.

    Raises:
        DataError: no such folder, none of the sets in it, or a file that does not parse.
    """
    if not data.is_dir():
        raise DataError(f"--data {data}: saw no such folder; expected one with summeval/, topical_chat/, human_scores/")
    readers: list[tuple[Path, Callable[[Path], HumanSet]]] = [
        (data / "summeval" / "summaries.jsonl.gz", _summeval),
        (data / "topical_chat" / "items.jsonl.gz", _topical_chat),
        *((data / "human_scores" / f"{name}.jsonl.gz", _bartscore) for name in SCALES),
    ]
    found = [read(path) for path, read in readers if path.is_file()]
    if not found:
        known = ", ".join(str(path.relative_to(data)) for path, _ in readers)
        raise DataError(f"--data {data}: saw none of {known}; expected at least one of them; check the folder")
    return found


SCALES: Mapping[str, tuple[float, float]] = {
    "newsroom": (1, 5),
    "realsumm": (0, 1),
    "bagel": (1, 6),
    "sfhot": (1, 6),
    "sfres": (1, 6),
    "qags_cnn": (0, 1),
    "qags_xsum": (0, 1),
    "rank19": (0, 1),
}
"""BARTScore's sets and their human scales."""
_TOPICAL_SCALES: Mapping[str, tuple[float, float]] = {
    "coherence": (1, 3),
    "engagingness": (1, 3),
    "naturalness": (1, 3),
    "groundedness": (0, 1),
    "understandability": (0, 1),
    "overall": (1, 5),
}
_SUMMEVAL_PROMPTS = ("rts", "altrts", "stareval")
"""Prompts whose replies hold a number; the others ask for a letter."""


def _summeval(path: Path) -> HumanSet:
    rows = read_rows(path)
    documents = {row["id"]: row for row in read_rows(path.with_name("documents.jsonl.gz"))}
    names = sorted(rows[0]["human"])
    attributes = {name: _scaled([row["human"][name] for row in rows], (1, 5)) for name in names}
    experts = range(len(rows[0]["expert_annotations"]))
    annotators = {
        name: np.stack([_scaled([row["expert_annotations"][one][name] for row in rows], (1, 5)) for one in experts])
        for name in names
    }
    places = {(row["doc_id"], row["system"]): place for place, row in enumerate(rows)}
    judges: dict[tuple[str, str], FloatArray] = {}
    for file in sorted((path.parent / "replies").glob("*.jsonl.gz")):
        judge, prompt, attribute = file.name.removesuffix(".jsonl.gz").rsplit(".", 2)
        if prompt in _SUMMEVAL_PROMPTS:
            scores = _judge_scores(
                read_rows(file), lambda row: places.get((row["doc_id"], row["system"])), (1, 5), rows
            )
            judges[f"{judge} {prompt}", attribute] = scores
    return HumanSet(
        name="summeval",
        reference=f"{len(documents[rows[0]['doc_id']]['references'])} reference summaries a document",
        has_references=True,
        docs=tuple(row["doc_id"] for row in rows),
        systems=tuple(row["system"] for row in rows),
        outputs=tuple(row["summary"] for row in rows),
        sources=tuple(documents[row["doc_id"]]["article"] for row in rows),
        references=tuple(tuple(documents[row["doc_id"]]["references"]) for row in rows),
        attributes=attributes,
        human=np.mean(list(attributes.values()), axis=0),
        human_is=f"mean of {', '.join(names)}",
        annotators={**annotators, "mean of all": np.mean(list(annotators.values()), axis=0)},
        judges=judges,
    )


def _topical_chat(path: Path) -> HumanSet:
    rows = read_rows(path)
    truth = {row["dialogue"]: row["response"] for row in rows if row["system"] == GROUND_TRUTH}
    attributes = {name: _scaled([row["human"][name] for row in rows], scale) for name, scale in _TOPICAL_SCALES.items()}
    places = {row["index"]: place for place, row in enumerate(rows)}
    judges: dict[tuple[str, str], FloatArray] = {}
    for file in sorted((path.parent / "replies").glob("*.jsonl.gz")):
        prompt, attribute = file.name.removesuffix(".jsonl.gz").rsplit(".", 1)
        replies = read_rows(file)
        scores = _judge_scores(replies, lambda row: places.get(row["index"]), _TOPICAL_SCALES[attribute], rows)
        judges[f"{replies[0]['model']} {prompt}", attribute] = scores
    return HumanSet(
        name="topical_chat",
        reference="the dialogue's own next turn, which is left out itself",
        has_references=True,
        docs=tuple(row["dialogue"] for row in rows),
        systems=tuple(row["system"] for row in rows),
        outputs=tuple(row["response"] for row in rows),
        sources=tuple(row["dialogue"] for row in rows),
        references=tuple(() if row["system"] == GROUND_TRUTH else (truth[row["dialogue"]],) for row in rows),
        attributes=attributes,
        human=attributes["overall"],
        human_is="overall",
        judges=judges,
    )


def _bartscore(path: Path) -> HumanSet:
    name = path.name.removesuffix(".jsonl.gz")
    rows = read_rows(path)
    beside = path.with_name(f"{name}.documents.jsonl.gz")
    documents = {row["doc"]: row for row in read_rows(beside)} if beside.is_file() else {}
    of_row = [{**documents.get(row["doc"], {}), **row} for row in rows]
    has_references = any(text != row["source"] for row in of_row for text in row["references"])
    counts = sorted({len(row["references"]) for row in of_row})
    many = f"{counts[0]} to {counts[-1]} references" if counts[-1] > 1 else "1 reference"
    names = sorted(rows[0]["human"])
    attributes = {attribute: _scaled([row["human"][attribute] for row in rows], SCALES[name]) for attribute in names}
    return HumanSet(
        name=name,
        reference=f"{many} a text" if has_references else "the source: there are no references",
        has_references=has_references,
        docs=tuple(str(row["doc"]) if documents else row["source"] for row in rows),
        systems=tuple(str(row["system"]) for row in rows),
        outputs=tuple(row["output"] for row in rows),
        sources=tuple(row["source"] for row in of_row),
        references=tuple(tuple(row["references"]) for row in of_row),
        attributes=attributes,
        human=np.mean(list(attributes.values()), axis=0),
        human_is=names[0] if len(names) == 1 else f"mean of {', '.join(names)}",
    )


def _judge_scores(
    replies: Sequence[Row], place_of: Callable[[Row], int | None], scale: tuple[float, float], rows: Sequence[Row]
) -> FloatArray:
    """Our parser's reading of each reply (of several: the mean of those that parse) at its text's place."""
    scores = np.full(len(rows), math.nan)
    for reply in replies:
        place = place_of(reply)
        texts: list[Any] = reply["completions"] if "completions" in reply else [reply["completion"]]
        read = mean_spoken(texts, lambda text: parse_score(text, *scale))
        if place is not None and read.num_read:
            scores[place] = read.value
    return scores


def _scaled(values: Sequence[float], scale: tuple[float, float]) -> FloatArray:
    low, high = scale
    return (np.asarray(values, dtype=float) - low) / (high - low)
