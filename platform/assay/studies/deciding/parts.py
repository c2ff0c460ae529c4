"""The items of each round as evaluation sets of their own, and the answers of several rounds as one.

A round's new items are places 0-49, 50-99, ... of an order by hash of the dataset's key: what was answered and scored
stays as it is, and a round adds to it. Afterwards an adapter's answers are put together under one key, so that tables,
reports and exports find them as those of any study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from assay.fingerprint import artifact_key
from assay.generation.spec import KIND, PREDICTIONS_FILE
from assay.store import Store
from assay.studies.artifacts import EVALUATION_SCHEMA, EvaluationSet

JOINED_SCHEMA = 1


def sets_of_rounds(
    sets: Mapping[str, EvaluationSet], items: Sequence[int] | None, num_rounds: int
) -> list[dict[str, EvaluationSet]]:
    """Evaluation sets that each round adds, by name.

    Args:
        sets: of the whole study.
        items: rows of a target's set after each round; None: all of them from the first one on.
        num_rounds: how many rounds there are.
    """
    if items is None:
        return [dict(sets), *({} for _ in range(num_rounds - 1))]
    found: list[dict[str, EvaluationSet]] = []
    for start, end in zip((0, *items), items, strict=False):
        added = {
            name: part_of(part, start, end) for name, part in sets.items() if part.purpose == "target" and end > start
        }
        if not found:
            added |= {name: part for name, part in sets.items() if part.purpose != "target"}
        found.append(added)
    return found


def part_of(whole: EvaluationSet, start: int, end: int) -> EvaluationSet:
    """Rows from place `start` up to `end` of an evaluation set's order by hash."""
    spec: dict[str, object] = {"split": whole.split, "rows": whole.rows, "order": "hash", "places": [start, end]}
    if whole.category:
        spec["category"] = whole.category
    key = artifact_key("evaluation", EVALUATION_SCHEMA, spec, {"dataset": whole.dataset_key})
    return replace(whole, key=key, places=(start, end))


@dataclass(frozen=True)
class JoinedPredictions:
    """The answers of one adapter to the items of several rounds."""

    parts: tuple[str, ...]

    @property
    def key(self) -> str:
        """Of the predictions artifact; a single part is itself."""
        if len(self.parts) == 1:
            return self.parts[0]
        return artifact_key(KIND, JOINED_SCHEMA, {"joined": True}, {"predictions": list(self.parts)})


def store_joined(store: Store, wanted: Iterable[JoinedPredictions]) -> None:
    """Put together what the store does not hold yet."""
    import pyarrow as pa

    several = {joined.key: joined for joined in wanted if len(joined.parts) > 1}
    for key in sorted(set(several) - store.present(KIND, several)):
        parts = [store.read_table(KIND, part, PREDICTIONS_FILE) for part in several[key].parts]
        with store.writing(KIND, key, {"joined": list(several[key].parts)}) as writer:
            writer.table(PREDICTIONS_FILE, pa.concat_tables(parts).sort_by("example_id"))
