"""Numbers and findings in words. Every number says what it counts; what is undefined says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from assay.preference.sources import REPORTED_SET
from assay.reports.design_plots import INSTRUCTION_SET, Lost

Rows = Sequence[Mapping[str, Any]]
MISSING = "–"


def number(value: float | int | None, digits: int = 3) -> str:
    """A plain number; whole numbers keep no decimals."""
    if value is None:
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference, with its sign (a true minus)."""
    return MISSING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """A share in [0, 1] as per cent."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def rate(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval."""
    if low is None or high is None:
        return "no interval"
    return f"[{low:.{digits}f}, {high:.{digits}f}]".replace("-", "−")


def p_value(value: float | None) -> str:
    """A p-value; small ones only as small."""
    if value is None:
        return MISSING
    return "< .001" if value < 0.001 else f"{value:.3f}"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return MISSING
    if value < 90:
        return f"{value:.1f} s"
    minutes = value / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def reasons(counts_json: str) -> str:
    """A table's JSON object of reason to count, in words."""
    counts: Mapping[str, int] = json.loads(counts_json)
    return ", ".join(f"{reason}: {count:,}" for reason, count in sorted(counts.items()))


def listed(names_json: str) -> str:
    """A table's JSON list of names, in words."""
    return ", ".join(json.loads(names_json))


def headlines(tables: Mapping[str, Rows], human: str, lost: Lost = INSTRUCTION_SET, arm: str = "mixture") -> list[str]:
    """What the study found, in sentences: the best mixture of each task, and the scorer that agrees best.

    A mixture is better than the baseline where Holm's p is below .05 and the interval knows how runs differ. What
    methods that learn from preferences do to their reported prompts, `preference_findings` says.
    """
    told = {*lost.sets, *((REPORTED_SET,) if tables.get("preference_measures") else ())}
    found = [_infusion(row) for row in tables.get("early_stopping", ())]
    for base, task in sorted({(row["base_model"], row["evaluation_set"]) for row in tables["leaderboard"]}):
        if task in told:
            continue
        sentence = _best_arm(tables["leaderboard"], (base, task), human, lost, arm)
        if sentence:
            found.append(sentence)
    sentence = _best_scorer(tables["metaeval"], tables.get("scorer_pairs", ()))
    if sentence:
        found.append(sentence)
    return found


def _infusion(row: Mapping[str, Any]) -> str:
    """When the format was infused in one training, and what stopping there saved and lost."""
    name = f"{row['arm']} on {row['base_model']}, seed {row['training_seed']}"
    if row["infused_step"] is None:
        return f"{name}: the stopping rule never held in {plural(row['full_steps'], 'step')}."
    return (
        f"{name}: format infused at step {number(row['infused_step'])} ({number(row['infused_examples'])} rows seen); "
        f"stopping there saves {percent(row['share_saved'])} of {plural(row['full_steps'], 'step')}; IFS in full minus "
        f"stopped {signed(row['ifs_lost'])} {rate(row['ifs_lost_low'], row['ifs_lost_high'])} over "
        f"{plural(row['num_prompts'], 'prompt')}."
    )


def _best_arm(rows: Rows, place: tuple[str, str], human: str, lost: Lost, arm: str) -> str | None:
    base, task = place
    ranked = sorted(
        (
            row
            for row in rows
            if row["base_model"] == base
            and row["evaluation_set"] == task
            and row["scorer"] == human
            and row["rank"] is not None
        ),
        key=lambda row: row["rank"],
    )
    if not ranked:
        return None
    best = ranked[0]
    name = f"{task} on {base}" if arm == "mixture" else task
    if best["is_baseline"]:
        none = f"{name}: no {arm} scores above the baseline ({best['arm']}, {number(best['mean'])} by {human})."
        return none + _worse_arms(ranked, human)
    forgets = ""
    if best["forgetting"] is not None:
        forgets = (
            f"; on {lost.words} {signed(best['forgetting'])} "
            f"{rate(best['forgetting_low'], best['forgetting_high'])} ({_forgetting_over(best)})"
        )
    sentence = f"{name}: {best['arm']} {standing(best)}: {against_baseline(best, human)}{forgets}."
    sure = [row for row in ranked if row["verdict"] == "better"]
    if sure and best not in sure:
        sentence += f" The highest that is better: {sure[0]['arm']}, {against_baseline(sure[0], human)}."
    return sentence + _worse_arms(ranked, human)


def _worse_arms(ranked: Rows, human: str) -> str:
    """The lowest of the mixtures that are worse than the baseline, with what it rests on, and the others by name."""
    worse = [row for row in reversed(ranked) if row["verdict"] == "worse"]
    if not worse:
        return ""
    others = ", ".join(str(row["arm"]) for row in worse[1:])
    sentence = f" Worse than the baseline: {worse[0]['arm']}, {against_baseline(worse[0], human)}"
    return f"{sentence}; also {others}." if others else f"{sentence}."


def _forgetting_over(row: Mapping[str, Any]) -> str:
    """What the change on the instruction set is over; studies finished before did not keep it."""
    if row["forgetting_items"] is None:
        return "over what, was not kept when this study ran"
    return f"{plural(row['forgetting_items'], 'item')}; over {row['forgetting_unit'] or 'nothing'}"


def verdict_words(row: Mapping[str, Any]) -> str:
    """A row's verdict, with the margin of "equivalent" and what an undecided one would take."""
    return f"{verdict_word(row)} ({row['needs']})" if row["needs"] else verdict_word(row)


def verdict_word(row: Mapping[str, Any]) -> str:
    """A row's verdict, with the margin of "equivalent"."""
    if row["verdict"] is None:
        return "not decided when this study ran"
    if row["verdict"] == "equivalent":
        return f"equivalent (within {number(row['margin'], 2)})"
    return str(row["verdict"])


def standing(row: Mapping[str, Any]) -> str:
    """How far the arm with the highest mean is told apart from the baseline."""
    if row["verdict"] == "better":
        return "has the highest mean and is better than the baseline"
    if row["verdict"] == "equivalent":
        return f"has the highest mean and is {verdict_words(row)} to the baseline"
    return f"has the highest mean, but is not told apart from the baseline: {verdict_words(row) or 'undecided'}"


def against_baseline(row: Mapping[str, Any], human: str) -> str:
    """A mean, and its difference to the baseline with what it rests on."""
    return (
        f"{number(row['mean'])} by {human}, {signed(row['difference'])} {rate(row['low'], row['high'])} over "
        f"{row['baseline']} (Holm p {p_value(row['p_holm'])}; {row['num_items']} items, "
        f"{plural(row['num_runs'], 'run')} against {row['num_baseline_runs']}; over {row['unit'] or 'nothing'})"
    )


def _best_scorer(rows: Rows, pairs: Rows) -> str | None:
    """Which scorer orders the runs most like the human column, as far as pairs of scorers are told apart."""
    known = [row for row in pairs if row["cit"] is not None and row["against_cit"] is not None]
    if not known:
        alone = [
            row for row in rows if row["level"] == "run" and row["statistic"] == "CIT" and row["value"] is not None
        ]
        return " ".join(_alone(row) for row in alone) or None
    best = max(known, key=lambda row: row["cit"])
    mine = [row for row in known if row["scorer"] == best["scorer"]]
    next_one = max(mine, key=lambda row: row["against_cit"])
    alike = [row["against"] for row in mine if row["verdict"] != "better"]
    value = f"CIT {number(best['cit'], 2)} on the {best['n_common']:,} answers that all scorers scored"
    gap = (
        f"{signed(next_one['difference'], 2)} {rate(next_one['low'], next_one['high'], 2)} over {next_one['against']}; "
        f"{best['num_clusters']} clusters of runs, {plural(best['num_tasks'], 'task')}, items fixed"
    )
    if alike:
        return (
            f"Inside tasks, {best['scorer']} agrees most with the human column ({value}), but is not told apart from "
            f"{', '.join(alike)}: {gap}."
        )
    return f"Inside tasks, {best['scorer']} orders the runs most like the human column: {value}, {gap}."


def _alone(row: Mapping[str, Any]) -> str:
    return (
        f"Inside tasks, {row['scorer']} agrees with the human column: CIT {number(row['value'], 2)} "
        f"{rate(row['low'], row['high'], 2)} over {row['num_clusters']} clusters of runs of "
        f"{plural(row['num_tasks'], 'task')}, items fixed."
    )
