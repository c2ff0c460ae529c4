"""Datasets that a study makes of its others: rows written by an LLM, rows with labels at random, rows with categories.

Each is a dataset artifact like any other, keyed by how it is made, by whom, and of what. Replies come from the ledger
where it has them, so that what was stopped goes on and nothing is paid twice.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.errors import ConfigError, StageError
from assay.fingerprint import artifact_key
from assay.hooks import Progress
from assay.judging.waiting import calls_text, telling_what_waits
from assay.llm.endpoint import EndpointSpec
from assay.llm.requests import Answer
from assay.metaeval.statistics.rates import wilson
from assay.mixtures.synthesis import (
    RandomLabels,
    RowFilter,
    SyntheticRows,
    randomly_labelled,
    shown_pool,
    write_request,
)
from assay.model_folders import FoundModel
from assay.records import Example, to_table
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.judges.parsing.thinking import spoken_part
from assay.scoring.judges.protocols.labelers import Labeler, category_labeler
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.scorers.models import find_encoder
from assay.stoppable import run_stoppable, settled
from assay.store import Store
from assay.tasks.catalog import Task, Tasks
from assay.tasks.datasets.loaders import EXAMPLES_FILE, KIND, SUMMARY_FILE
from assay.tasks.tagging import Embed, JudgeTags, learn_tags, rows_for_judge

if TYPE_CHECKING:
    from assay.llm.opening import Asker
    from assay.studies.spec import Derived
    from assay.studies.writer import Writer

SCHEMA_VERSION = 1
WRITE_STAGE, TAG_STAGE = "writing rows", "tagging"
ANSWERED_SHARE = 0.5
"""Of the rows that a judge is asked to tag; with fewer tags a dataset is not made."""


@dataclass(frozen=True)
class Made:
    """What making a dataset came to."""

    rows: list[Example]
    summary: dict[str, object]
    said: str
    """One sentence with counts."""


def derived_keys(derived: Mapping[str, Derived], keys: Mapping[str, str], endpoint: EndpointSpec) -> dict[str, str]:
    """Keys of all datasets of a study, the derived ones included.

    Raises:
        ConfigError: a dataset is derived from one that does not exist, or from itself.
    """
    found = dict(keys)
    for name in in_order(derived, keys):
        spec = derived[name]
        writer: dict[str, object] = {}
        if not isinstance(spec, RandomLabels):
            writer = {"endpoint": endpoint.endpoint_name, "model": endpoint.model}
        if isinstance(spec, JudgeTags):
            writer["labeler"] = category_labeler(structured=spec.structured).identity()
            if spec.encoder:
                writer["encoder"] = tag_encoder(spec).key
        said = {field: value for field, value in spec.identity().items() if field != "of"}
        made_by = {"derived": said, "writer": writer}
        found[name] = artifact_key(KIND, SCHEMA_VERSION, made_by, {"of": found[spec.of]})
    return found


def in_order(derived: Mapping[str, Derived], known: Mapping[str, object]) -> list[str]:
    """Names so that each comes after what it is made of."""
    ordered: list[str] = []
    while len(ordered) < len(derived):
        ready = [
            n for n in sorted(derived) if n not in ordered and (derived[n].of in known or derived[n].of in ordered)
        ]
        if not ready:
            name = next(name for name in sorted(derived) if name not in ordered)
            raise ConfigError(
                f"data.derived.{name}.of: saw {derived[name].of!r}; expected one of {', '.join(sorted(known))}, or a "
                "derived dataset that does not lead back here"
            )
        ordered += ready
    return ordered


def make_derived(
    store: Store,
    derived: Mapping[str, Derived],
    keys: Mapping[str, str],
    rows_of: Callable[[str], Sequence[Example]],
    writer: Writer,
    progress: Progress,
    tasks: Tasks,
) -> list[str]:
    """Make the datasets that the store does not hold.

    Args:
        store: where they go.
        derived: by the study's name.
        keys: of all datasets, see `derived_keys`.
        rows_of: rows of a dataset by name; those made here are asked for once they are stored.
        writer: who is asked.
        progress: told of rows.
        tasks: of the study.

    Returns:
        One sentence for each that was made.

    Raises:
        StageError: the LLM's replies held too few rows that can be used.
        LimitReached: the budget is spent; what was paid for is in the ledger.
    """
    said = []
    for name in in_order(derived, {key: 0 for key in keys if key not in derived}):
        if store.exists(KIND, keys[name]):
            continue
        made = _make(derived[name], rows_of(derived[name].of), writer, progress, tasks)
        with store.writing(KIND, keys[name], _told(derived[name])) as artifact:
            artifact.table(EXAMPLES_FILE, to_table(made.rows, Example))
            counts = Counter(row.split for row in made.rows)
            categories = Counter(row.category for row in made.rows if row.category)
            artifact.json(SUMMARY_FILE, {"counts": dict(counts), "categories": dict(categories), **made.summary})
        said.append(f"{name}: {made.said}")
    return said


def _told(spec: Derived) -> dict[str, object]:
    """The spec for a manifest: an encoder by its name, never a path of this machine."""
    told = spec.model_dump(mode="json")
    if isinstance(spec, JudgeTags) and spec.encoder:
        told["encoder"] = tag_encoder(spec).name
    return told


def _make(spec: Derived, rows: Sequence[Example], writer: Writer, progress: Progress, tasks: Tasks) -> Made:
    if isinstance(spec, RandomLabels):
        made = randomly_labelled(spec, rows, tasks.get(rows[0].task))
        return Made(made, {}, f"{len(made):,} rows with answers at random")
    if isinstance(spec, SyntheticRows):
        return run_stoppable(write_rows(spec, rows, tasks.get(rows[0].task), writer, progress))
    return run_stoppable(tag_rows(spec, rows, writer, progress))


async def write_rows(
    spec: SyntheticRows, rows: Sequence[Example], task: Task, writer: Writer, progress: Progress
) -> Made:
    """Ask for rows, round by round, until there are enough; equal replies give equal rows, in any order of arrival.

    Raises:
        StageError: too few after the most calls.
    """
    pool = shown_pool(spec, rows)
    kept = RowFilter(spec, task)
    kept.show(pool)
    progress.start(WRITE_STAGE, spec.rows, unit="rows")
    calls, failed = 0, Counter[str]()
    async with writer.open() as gateway, telling_what_waits(progress, WRITE_STAGE, gateway.stats):
        while len(kept.kept) < spec.rows and calls < spec.most_calls:
            missing = -(-(spec.rows - len(kept.kept)) // spec.per_call)
            numbers = range(calls, min(spec.most_calls, calls + missing))
            calls = numbers.stop
            texts: dict[int, str] = {}
            requests = (write_request(spec, task, pool, number) for number in numbers)
            async for index, reply in gateway.ask_many(requests):
                if isinstance(reply, Answer):
                    texts[numbers[index]] = reply.text
                else:
                    failed[reply.reason] += 1
                progress.advance(WRITE_STAGE, 0, calls=calls_text(gateway.stats()), waiting_for=None)
            before = len(kept.kept)
            for number in sorted(texts):
                kept.read(spoken_part(texts[number]).text, number)
            progress.advance(WRITE_STAGE, len(kept.kept) - before, left_out=(kept.rejected + failed).total())
    progress.finish(WRITE_STAGE)
    rejected = dict(sorted((kept.rejected + failed).items()))
    if len(kept.kept) < spec.rows:
        raise StageError(
            f"synthetic rows of {task.name}: saw {len(kept.kept)} of {spec.rows} that can be used after {calls} calls "
            f"(left out: {json.dumps(rejected)}); {_advice(rejected)}"
        )
    said = f"{len(kept.kept):,} rows written by {writer.endpoint.model} in {calls:,} calls"
    if rejected:
        said += "; left out: " + ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    return Made(kept.kept, {"calls": calls, "rejected": rejected, "written_by": writer.endpoint.model}, said)


def _advice(rejected: Mapping[str, int]) -> str:
    """What would help most: a form that cannot be missed where rows were none, else more to write from."""
    repeated = rejected.get("repeats another row", 0)
    if sum(rejected.values()) > 2 * repeated:
        return "ask a stronger writer, hold it to the form (structured), or ask for fewer rows"
    return "ask for fewer rows, show more (pool) or raise max_overlap"


def tag_encoder(spec: JudgeTags) -> FoundModel:
    """The encoder that a tagger's spec names.

    Raises:
        InputError: it cannot be found or loaded safely; one line.
    """
    return find_encoder(spec.encoder, "encoder of judge_tags")


async def tag_rows(spec: JudgeTags, rows: Sequence[Example], writer: Writer, progress: Progress) -> Made:
    """Categories from the judge, and for the rows that it is not asked about, or gave none for, from the classifier.

    Raises:
        StageError: the judge gave a category for too few rows.
    """
    asked = rows_for_judge(spec, rows)
    embed = _embed(spec)  # loaded before anything is paid
    progress.start(TAG_STAGE, len(asked), unit="rows")
    async with writer.open() as gateway:
        labeler = category_labeler(structured=spec.structured)
        async with telling_what_waits(progress, TAG_STAGE, gateway.stats):
            labels, reasons = await _judge_labels(labeler, asked, gateway, progress)
    progress.finish(TAG_STAGE)
    if len(labels) < ANSWERED_SHARE * len(asked):
        raise StageError(
            f"tagging: saw a category for {len(labels)} of {len(asked)} rows (others: {json.dumps(dict(reasons))}); "
            f"expected at least {ANSWERED_SHARE:.0%}; ask a stronger judge, or hold it to the form (structured)"
        )
    summary: dict[str, object] = {"tagged_by_judge": len(labels), "unanswered": dict(sorted(reasons.items()))}
    said = f"{len(labels):,} rows tagged by {writer.endpoint.model}"
    untagged = [row for row in rows if row.example_id not in labels]
    if untagged:
        tagged = [(row, labels[row.example_id]) for row in asked if row.example_id in labels]
        guesses, report = learn_tags(spec, tagged, untagged, embed)
        summary["classifier"] = report.as_dict()
        accuracy = wilson(report.num_right, report.num_held_out)
        labels |= {row.example_id: guess for row, guess in zip(untagged, guesses, strict=True)}
        said += (
            f", {len(untagged):,} by a classifier that agrees with it on {accuracy.value:.3f} [{accuracy.low:.3f}, "
            f"{accuracy.high:.3f}] of {report.num_held_out:,} held-out rows (most common category: "
            f"{report.num_most_common / report.num_held_out:.3f})"
        )
    made = [dataclasses.replace(row, category=labels[row.example_id]) for row in rows]
    return Made(made, summary, said)


def _embed(spec: JudgeTags) -> Embed | None:
    if not spec.encoder:
        return None
    from assay.scoring.scorers.embedding_engine import sentence_encoder

    return sentence_encoder(tag_encoder(spec).path)


async def _judge_labels(
    labeler: Labeler, rows: Sequence[Example], gateway: Asker, progress: Progress
) -> tuple[dict[str, str], Counter[str]]:
    """Category by row id, and why there is none for the others."""
    labels: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    source = iter(rows)

    async def ask(call: JudgeCall) -> JudgeReply:
        return await gateway.ask(to_request(call, labeler.name))

    async def work() -> None:
        for row in source:
            instance = PointwiseInstance(row.instruction, row.input)
            judgement = await run_protocol(labeler, instance, ask)
            if judgement.label:
                labels[row.example_id] = judgement.label
            else:
                reasons[judgement.status] += 1
            progress.advance(TAG_STAGE, calls=calls_text(gateway.stats()), waiting_for=None)

    await settled((work() for _ in range(TAGGERS)), gateway.settle)
    return labels, reasons


TAGGERS = 64
"""Rows asked about at a time; the gateway keeps the endpoint's own limits."""
