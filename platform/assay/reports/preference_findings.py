"""What a study of preferences found, in sentences: methods against the start, and against best of n at equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.reports.wording import number, p_value, plural, rate, signed, verdict_words

Rows = Sequence[Mapping[str, Any]]


def preference_findings(tables: Mapping[str, Rows], human: str) -> list[str]:
    """A sentence or two for each source of pairs, by the human column; none where no study of preferences is.

    Args:
        tables: rows of its tables, by name.
        human: scorer that plays the human column.
    """
    measured = [
        row for row in tables.get("preference_measures", ()) if row["measure"] == human and row["value"] is not None
    ]
    found = []
    for base, pairs in sorted({(row["base_model"], row["pairs"]) for row in measured}):
        mine = [row for row in measured if (row["base_model"], row["pairs"]) == (base, pairs)]
        costs = [
            row
            for row in tables.get("preference_equal_cost", ())  # not there in studies finished before
            if (row["base_model"], row["pairs"]) == (base, pairs)
        ]
        found.append(f"Pairs {pairs} on {base}: {_against_start(mine, human)}{_at_equal_cost(costs)}")
    return found


def _against_start(rows: Rows, human: str) -> str:
    """The method with the highest mean, and which others differ from the start."""
    best, *others = sorted(rows, key=lambda row: row["value"], reverse=True)
    sentence = (
        f"of the methods {best['method']} has the highest mean, {number(best['value'])} by {human}, "
        f"{signed(best['difference'])} {rate(best['difference_low'], best['difference_high'])} to the start: "
        f"{verdict_words(best)} (Holm p {p_value(best['p_holm'])}; {plural(best['num_items'], 'prompt')}, "
        f"{plural(best['num_runs'], 'run')}; over {best['unit'] or 'nothing'})."
    )
    for word in ("better", "worse"):
        if like := [row["method"] for row in others if row["verdict"] == word]:
            also = " too" if best["verdict"] == word else ""
            sentence += f" {word.capitalize()} than the start{also}: {', '.join(like)}."
    return sentence


def _at_equal_cost(rows: Rows) -> str:
    """Which methods are told apart from the best of n that the calls for their pairs would have bought."""
    sentence = ""
    for word in ("better", "worse"):
        if told := [row for row in rows if row["verdict"] == word]:
            each = ", ".join(
                f"{row['method']} {signed(row['difference'])} "
                f"{rate(row['difference_low'], row['difference_high'])} to best of {row['n']}"
                for row in told
            )
            sentence += f" At equal cost {word} than best of n: {each}."
    return sentence
