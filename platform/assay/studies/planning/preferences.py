"""What a study of preferences samples, labels and reads beside its trainings. Estimates; touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.preference.sources import (
    GivenPairs,
    PairsAsked,
    PrinciplePairs,
    RsoPairs,
    SampledPairs,
    StrongerPairs,
    answers_to_a_prompt,
    judge_verdicts,
    start_verdicts,
)
from assay.studies.designs.preference import EXPERT_ITERATION, PreferenceGrid
from assay.studies.planning.outline import CHARS_PER_TOKEN, DatasetOutline
from assay.studies.spec import JUDGE, Study
from assay.training.spec import TrainSpec


@dataclass(frozen=True)
class PreferenceWork:
    """Beside trainings and answers to the evaluation sets."""

    answers: int
    """Sampled, by all base models."""
    judged: int
    """Verdicts asked of the judge: ratings, and both orders of two answers."""
    refereed: int
    """Asked of the referee: both orders of what reported arms answer and what their start does."""
    tokens: float
    """Read and written by each base model in sampling, and read for reference log-probabilities and divergences."""
    note: str


def preference_work(study: Study, grid: PreferenceGrid, outlines: Mapping[str, DatasetOutline]) -> PreferenceWork:
    """Samples of every source, each once; the start's answers for best of n; what is read for log-probabilities."""
    mean_tokens = outlines[grid.prompt_dataset(study)].mean_chars / CHARS_PER_TOKEN
    labelled = [spec for spec in grid.pairs.values() if isinstance(spec, (SampledPairs, RsoPairs))]
    answers = sum(num for num, _ in {(spec.num, spec.temperature) for spec in labelled}) * grid.num_prompts
    unlabelled = [spec for spec in grid.pairs.values() if isinstance(spec, (StrongerPairs, PrinciplePairs))]
    answers += grid.num_prompts * sum(map(answers_to_a_prompt, unlabelled))
    later = (grid.rounds - 1) * grid.num_points * grid.seeds if EXPERT_ITERATION in grid.methods else 0
    answers += later * grid.num_prompts * sum(spec.num for spec in labelled)
    frontier = grid.frontier * grid.reported_prompts
    distinct = {(spec.scorer, spec.num, spec.temperature): spec for spec in labelled}.values()
    asked = [*distinct, *(spec for spec in labelled for _ in range(later))]
    judged = grid.num_prompts * sum(map(judge_verdicts, asked))
    judged += frontier if JUDGE in study.scorers else 0
    asked_of_start = grid.num_prompts * sum(map(start_verdicts, asked))
    read = 2 * grid.num_prompts * len(grid.pairs)
    own = len(grid.pairs) * len(grid.trained_methods) * grid.seeds * grid.reported_prompts
    written = study.evaluation.instruction_max_new_tokens / 2
    tokens = (answers + frontier) * (mean_tokens + written) + (read + 2 * own) * mean_tokens
    tokens += asked_of_start * (mean_tokens + 2 * written)  # a question and two answers to it
    bases = len(study.base_models)
    given = sum(isinstance(spec, GivenPairs) for spec in grid.pairs.values())
    note = (
        f"preferences: {len(grid.trained_methods)} methods x {grid.num_points} tuning points x {grid.seeds} seeds x "
        f"{len(grid.pairs)} sources of pairs; {answers * bases:,} answers sampled for pairs, shared by all methods, "
        f"and {frontier * bases:,} for best of n; reference log-probabilities computed once for each source; at most "
        f"one row of pairs for each of {grid.num_prompts:,} prompts is assumed"
        + (f", {asked_of_start * bases:,} verdicts asked of the start itself" if asked_of_start else "")
        + (f", given pairs ({given}) counted as so many, too" if given else "")
    )
    refereed = 0 if study.referee is None else 2 * own * bases
    return PreferenceWork((answers + frontier) * bases, judged * bases, refereed, tokens, note)


def pairs_tokens(
    study: Study, asked: PairsAsked, recipe: TrainSpec, rows: int, outlines: Mapping[str, DatasetOutline]
) -> int:
    """Tokens that a training on preferences passes through: every answer of a row with its prompt."""
    grid = study.grid.preferences
    assert grid is not None
    mean_tokens = min(outlines[grid.prompt_dataset(study)].mean_chars / CHARS_PER_TOKEN, recipe.max_length)
    return round(rows * recipe.num_epochs * _answers_per_row(asked, recipe) * mean_tokens)


def _answers_per_row(asked: PairsAsked, recipe: TrainSpec) -> int:
    """Answers of a row that are trained, at most."""
    if not isinstance(asked.spec, (SampledPairs, RsoPairs)) or recipe.objective.encoding().get("answers") != "list":
        return 2
    return asked.spec.keep if isinstance(asked.spec, RsoPairs) else asked.spec.num
