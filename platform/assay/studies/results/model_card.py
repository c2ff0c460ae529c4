"""The card of an exported model: what it was trained on, how, how it scored, and what nobody stated. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assay.metaeval.study_tables.frame import RunRow
from assay.mixtures.spec import MixtureSpec
from assay.preference.sources import PairsAsked
from assay.studies.spec import Study
from assay.training.spec import TrainSpec

ModelKind = Literal["adapter", "merged weights", "whole weights"]


@dataclass(frozen=True)
class Exported:
    """A model that leaves its study."""

    study: Study
    study_key: str
    run: RunRow
    mixture: MixtureSpec | None
    """None: of an arm that is its starting point, or learnt from preferences."""
    kind: ModelKind
    """"whole weights" were trained as such."""
    recipe: TrainSpec
    """Of its own training."""
    pairs: PairsAsked | None = None
    """The preferences that it learnt from."""
    prefix: str = ""
    """What stands before the questions that it is asked."""


KINDS = {
    "adapter": "A LoRA adapter",
    "merged weights": "Merged weights",
    "whole weights": "All weights, trained,",
}


def model_card(exported: Exported, leaderboard: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; scores are the arm's, over all of its draws and seeds, so they are not of this one adapter alone.

    Args:
        exported: the model.
        leaderboard: rows of the study's table; empty: the study is not finished.
    """
    run = exported.run
    lines = [
        f"# {exported.study.name}: {run.arm}",
        "",
        f"{KINDS[exported.kind]} of base model `{run.base_model}`, draw {run.draw}, training seed {run.training_seed}.",
        f"Study key `{exported.study_key}`, adapter `{run.adapter_key}`.",
        "",
        "## Mixture" if exported.pairs is None else "## Preferences",
        "",
        *(_mixture(exported.mixture) if exported.pairs is None else _preferences(exported, exported.pairs)),
        "",
        "## Recipe",
        "",
        *_settings({name: said for name, said in exported.recipe.model_dump(mode="json").items() if name != "seed"}),
        "",
        "## Scores of the arm",
        "",
        *_scores(run, leaderboard),
        "",
        "## Licences",
        "",
        *_licences(exported),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def unknown_licences(exported: Exported) -> list[str]:
    """The base model, which a study says nothing of, and every dataset whose source states no licence."""
    return [f"base model {exported.run.base_model}", *(name for name, said in _data(exported).items() if not said)]


def _data(exported: Exported) -> dict[str, str]:
    """Licence of each dataset that the model learnt from, as the study states it; empty: it does not."""
    sources = exported.study.data.sources
    names = exported.study.used.names if exported.mixture is None else {part.dataset for part in exported.mixture.train}
    return {name: sources[name].licence if name in sources else "" for name in sorted(set(names))}


def _licences(exported: Exported) -> Iterator[str]:
    yield f"- base model `{exported.run.base_model}`: unknown to the study"
    for name, said in _data(exported).items():
        yield f"- dataset `{name}`: {said or 'unknown: the study file states none'}"
    yield ""
    yield "Look at each before you pass this on."


def _mixture(mixture: MixtureSpec | None) -> Iterator[str]:
    if mixture is None:
        yield "None: the model is what its training starts from."
        return
    yield f"Training rows, drawn in mode `{mixture.mode}`:"
    yield ""
    for part in mixture.train:
        share = f"weight {part.weight}" if part.count is None else f"{part.count} rows"
        yield f"- {part.name}: {share} of dataset `{part.dataset}`"


def _preferences(exported: Exported, asked: PairsAsked) -> Iterator[str]:
    grid = exported.study.grid.preferences
    assert grid is not None
    told = {
        "merged": "the base with the study's instruction adapter in it",
        "stacked": "the base with the study's instruction adapter, which is part of this one",
        "base": "the base",
    }
    yield f"Trained on the source `{asked.name}` of preferences, from {told.get(grid.start, grid.start)}:"
    yield ""
    yield from _settings(asked.spec.model_dump(mode="json"))
    if asked.rounds > 1:
        yield f"- rounds: {asked.rounds}"
    if exported.prefix:
        yield ""
        yield f"Ask it with `{exported.prefix}` in front of the question: that is the condition of good answers."


def _settings(values: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """A line per setting, those of a part as `part.setting`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{within}{name}.")
        else:
            yield f"- {within}{name}: {_said(value)}"


def _said(value: Any) -> str:
    """A setting as a study file would say it."""
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not set"}[value]
    return "empty" if value == "" else str(value)


def _scores(run: RunRow, leaderboard: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [row for row in leaderboard if row["arm"] == run.arm and row["base_model"] == run.base_model]
    if not rows:
        yield "None: the study is not finished."
        return
    yield "Means over all draws and seeds of the arm; the difference is from the baseline, with its interval."
    yield ""
    yield "| evaluation set | scorer | mean | difference | low | high | runs |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        values = (_number(row[name]) for name in ("mean", "difference", "low", "high"))
        yield f"| {row['evaluation_set']} | {row['scorer']} | {' | '.join(values)} | {row['num_runs']} |"


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.4g}"
