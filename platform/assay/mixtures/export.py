"""A mixture as JSON Lines for people and other trainers: text beside where each row comes from. Pure.

`messages.jsonl` is what axolotl (`chat_template`), LLaMA-Factory (`sharegpt` with role and content tags) and TRL's
SFTTrainer read: a list of turns by row, the answer last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.mixtures.sampling import Mixture
from assay.records import Example, MixtureRow
from assay.tasks.templates import messages


def mixture_records(
    rows: Sequence[MixtureRow], by_id: Mapping[str, Mapping[str, Example]], names: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Each row as {instruction, input, output, history?, provenance}, in the mixture's order.

    Args:
        rows: a mixture's training or validation rows.
        by_id: examples by dataset key and id.
        names: what to call a dataset in the provenance, by key; default: nothing beside the key.
    """
    for row in rows:
        example = by_id[row.dataset][row.example_id]
        record: dict[str, Any] = {
            "instruction": example.instruction,
            "input": example.input,
            "output": example.reference,
        }
        if example.history_json:
            record["history"] = json.loads(example.history_json)
        record["provenance"] = {
            "component": row.component,
            "dataset": row.dataset,
            **({"name": names[row.dataset]} if names and row.dataset in names else {}),
            "example_id": row.example_id,
            "task": example.task,
            "category": example.category,
        }
        yield record


def mixture_jsonl(
    mixture: Mixture, datasets: Mapping[str, Sequence[Example]], names: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """File name -> content: rows with where they come from, the same as messages, and what was taken and dropped."""
    by_id = {key: {example.example_id: example for example in examples} for key, examples in datasets.items()}

    def lines(rows: Sequence[MixtureRow]) -> bytes:
        records = mixture_records(rows, by_id, names)
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()

    def turns(rows: Sequence[MixtureRow]) -> bytes:
        told = (by_id[row.dataset][row.example_id] for row in rows)
        records = ({"messages": [*messages(row), {"role": "assistant", "content": row.reference}]} for row in told)
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()

    summary = {"key": mixture.key, "components": mixture.summary}
    return {
        "train.jsonl": lines(mixture.train),
        "validation.jsonl": lines(mixture.validation),
        "messages.jsonl": turns(mixture.train),
        "messages_validation.jsonl": turns(mixture.validation),
        "summary.json": (json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode(),
    }
