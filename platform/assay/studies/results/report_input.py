"""What the report of a study is made of, gathered from its results as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.model_folders import SHIPPED
from assay.studies.deciding.prices import Prices, prices_of, would_take
from assay.studies.deciding.wording import decision_lines
from assay.studies.exits.wording import exit_sections
from assay.studies.preferences.spent import method_costs
from assay.studies.results.browser import browser_rows
from assay.studies.scores import stored_scores
from assay.studies.spec import TINY, Study

if TYPE_CHECKING:
    from assay.studies.pipeline import Results
    from assay.tasks.catalog import Task

CURVES = ("exact_match", "heuristic", "judge", "truth", "rouge1", "rouge2", "token_f1")
"""Scorers for the learning curves, in order of preference."""
MOST_CURVES = 4
LEADER = ("leader", "leader_mean", "leader_low", "leader_high")


def report_content(results: Results) -> dict[str, Any]:
    """Fields of `reports.page.ReportInput`."""
    import pyarrow as pa

    study, wanted = results.study, results.wanted
    scores = pa.concat_tables(stored_scores(results.folder.store, results.scoring))
    return {
        "title": study.name,
        "description": study.description,
        "mode": study.mode,
        "key": results.folder.key,
        "facts": [
            ["cells", f"{len(wanted.cells):,}"],
            ["distinct trainings", f"{len(wanted.tunings) + len(wanted.trainings):,}"],
            *([] if results.exits is None else [["ended early", f"{len(results.exits['ended']):,}"]]),
            ["predictions", f"{_num_predictions(results):,}"],
            ["scores", f"{scores.num_rows:,}"],
            *(
                []
                if study.grid.given
                else [["base models", ", ".join(sorted({run.base_model for run in wanted.runs}))]]
            ),
            ["target tasks", str(len(study.target_sets))],
        ],
        "notes": notes(study),
        "human": study.statistics.human,
        "arm": "model" if study.grid.given else "mixture",
        "paper_places": study.grid.paper_places,
        "objective": None if study.objective is None else dataclasses.asdict(study.objective),
        "forgetting": [part.name for part in study.grid.evaluation_sets(study) if part.purpose == "forgetting"],
        "curve_scorers": curve_scorers(study.scorers),
        "tables": results.tables,
        "costs": results.costs.rows(),
        "method_costs": _method_costs(results),
        "errors": list(results.errors),
        "decisions": decision_sections(results.decisions),
        "exits": exit_sections(results.exits),
        "rows": [row.as_dict() for row in results.rows],
        "browser": browser_of(results),
    }


def _method_costs(results: Results) -> list[dict[str, Any]]:
    """What each method of a study of preferences cost; none of other studies."""
    arms = results.tables.get("preference_arms")
    return [] if arms is None else method_costs(results.wanted, arms.to_pylist(), results.costs.trainings)


def decision_sections(decisions: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The questions of a study with `decide`, as the report shows them; none of other studies."""
    if decisions is None:
        return []
    prices = prices_of(decisions)
    found = []
    for family in decisions["families"]:
        last = family["rounds"][-1] if family["rounds"] else None
        found.append(
            {
                "base_model": family["base_model"],
                "task": family["task"],
                "scorer": decisions["scorer"],
                "rule": family["rule"],
                "is_answered": family["is_answered"],
                "lines": decision_lines(family, prices),
                "kept": sorted({arm for one in family["rounds"] for arm in one["kept"]}),
                "findings": list(_last_findings(family, prices)),
                "leader": last and {name: last[name] for name in LEADER},
            }
        )
    return found


def _last_findings(family: Mapping[str, Any], prices: Prices | None) -> Iterator[dict[str, Any]]:
    """Each difference as it was last known, with the draws that it was known by."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for one in family["rounds"]:
        for finding in one["findings"]:
            takes = would_take(finding, one["look"], one.get("items"), family["task"], prices)
            told = {**finding, "draws": one["look"], "items": one.get("items"), "takes": takes}
            known[finding["first"], finding["second"]] = told
    yield from (known[pair] for pair in sorted(known))


def browser_of(results: Results) -> dict[str, Any]:
    """Prompts, answers and replies for the page's browser."""
    import pyarrow as pa

    scores = pa.concat_tables(stored_scores(results.folder.store, results.scoring))
    examples = {name: results.datasets.evaluation_rows(part) for name, part in results.sets.items()}
    return browser_rows(results.wanted.runs, examples, scores, results.folder.store)


def curve_scorers(scorers: Sequence[str]) -> list[str]:
    """Scorers drawn in the learning curves."""
    return [name for name in CURVES if name in scorers][:MOST_CURVES]


def _task_note(task: Task) -> str:
    """What a study's own task asks, and what its numbers stand against."""
    shape = f"answers: {', '.join(task.labels)}" if task.labels else f"answers: {task.answer_format}"
    said = [shape]
    if task.chance is not None:
        said.append(f"chance level {task.chance:.3f}")
    rule = str(task.correct_if) if task.correct_if is not None else task.heuristic
    said.append(f"the scorer heuristic goes by {rule}" if rule not in ("", "none") else "no heuristic")
    if task.criteria:
        said.append(f"the judge rates by criteria of its own, from {task.scale[0]:g} to {task.scale[1]:g}")
    return f"Task {task.name}, as the study defines it: {'; '.join(said)}; usual scorer {task.reference_scorer}."


def notes(study: Study) -> list[str]:
    """What a reader must know before the first number."""
    found = []
    if study.statistics.human == "truth":
        found.append(
            "Toy world: the truth of every answer is known and plays the human column; the heuristic stays a scorer. "
            "CIT and CAT of a demo hold by construction of the toy world and say nothing about real judges."
        )
    elif study.statistics.human == "heuristic":
        found.append(
            "No human scores here: a heuristic plays the human column, as in the published study. It is a rule, "
            "not a person; agreement with it is agreement with a rule."
        )
    elif study.statistics.human != "human":
        found.append(
            f"No human scores here: the scorer {study.statistics.human} plays the human column. Agreement with it is "
            "agreement with that scorer, not with people."
        )
    found += [_task_note(study.registry.tasks.get(name)) for name in study.own_tasks]
    if {TINY, *SHIPPED} & set(study.all_models):
        found.append(
            "The base model is a tiny one, trained for the toy world or by the study itself. It shows that every part "
            "works and what the curves look like; it says nothing about models of useful size."
        )
    if study.judge.is_embedded and "judge" in study.scorers:
        found.append("The judge is the embedded rubric judge: rules behind an OpenAI-compatible endpoint, no LLM.")
    found += study.grid.notes()
    if study.mode == "compat":
        found.append(
            "Mode compat: rules of the published study, quirks included; compare with strict before believing."
        )
    return found


def _num_predictions(results: Results) -> int:
    table = results.tables["run_scores"]
    rows = {(row["predictions_key"], row["num_asked"]) for row in table.to_pylist()}
    return sum(count for _, count in rows)
