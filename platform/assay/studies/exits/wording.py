"""Exits in words and in a table, from the stored record: for logs, `assay status`, results and reports. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from assay.metaeval.study_tables.columns import Column, key, make_table
from assay.metaeval.study_tables.frame import MANY

if TYPE_CHECKING:
    import pyarrow as pa

EXIT_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "exits": (
        key("base_model", "name of the base model"),
        key("task", "target task that the arm is compared for; * where every arm answers all sets"),
        key("arm", "what ended: it has no scores, and no other table of results has it"),
        key("adapter_key", "the training, as it would have been named in full"),
        Column("at", "float64", "part of the steps at which it was decided"),
        Column("step", "int64", "optimizer steps that it took"),
        Column("planned_steps", "int64", "optimizer steps of the whole training"),
        Column("loss", "float64", "validation loss there, nats; mean over the arm's runs"),
        Column("gain", "float64", "the most that it might still have fallen by"),
        Column("leader", "string", "arm with the lowest loss"),
        Column("leader_end", "float64", "loss that the leader is taken to come to"),
    )
}


def exits_table(record: Mapping[str, Any]) -> pa.Table:
    """One row for each training that ended, in order of barrier, base model, task and arm."""
    return make_table("exits", list(_rows(record)), EXIT_COLUMNS)


def exit_lines(record: Mapping[str, Any] | None) -> list[str]:
    """A line for each barrier of each comparison: who leads, who ended and by what evidence; none of other studies."""
    return [line for barrier in (record or {}).get("barriers", ()) for line in barrier_lines(barrier)]


def barrier_lines(barrier: Mapping[str, Any]) -> list[str]:
    """Those of one barrier."""
    lines = []
    for family in barrier["families"]:
        label = f"{'all sets' if family['task'] == MANY else family['task']} on {family['base_model']}"
        leader, seen = family["leader"], family["seen"]
        parts = [f"{leader} leads ({seen[leader]['best']:.4f} nats)"]
        for arm, why in family["ended"].items():
            steps = sorted({tuple(ends) for ends in family["ended_at"][arm].values()})
            told = " and ".join(f"{step} of {of} steps" for step, of in steps)
            parts.append(f"{arm} ended after {told}: {_why(why)}")
        parts += [f"{arm} stays as a baseline, though {_why(why)}" for arm, why in family["staying"].items()]
        if not family["ended"]:
            parts.append("nobody ended")
        lines.append(f"{label}, at {family['at']:g} of the steps: {'; '.join(parts)}")
    return lines


def exit_sections(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the report shows: the rule, a line for each barrier, and what was saved; None of other studies."""
    if record is None:
        return None
    rows = list(_rows(record))
    return {
        "rule": record["barriers"][0]["asked"],
        "lines": exit_lines(record),
        "rows": rows,
        "steps_saved": sum(row["planned_steps"] - row["step"] for row in rows),
    }


def _why(why: Mapping[str, Any]) -> str:
    return (
        f"loss {why['loss']:.4f} may still fall by {why['gain']:.4f}, and {why['leader']} will be at "
        f"{why['leader_end']:.4f}"
    )


def _rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for barrier in record["barriers"]:
        for family in barrier["families"]:
            for arm, why in family["ended"].items():
                for adapter, (step, planned) in family["ended_at"][arm].items():
                    yield {
                        **{name: family[name] for name in ("base_model", "task", "at")},
                        "arm": arm,
                        "adapter_key": adapter,
                        "step": step,
                        "planned_steps": planned,
                        **why,
                    }
