"""The winner of a study as a folder that other tools load: its adapter or whole weights, with tokenizer and card.

An arm has one adapter per draw and training seed. The first of each is taken unless one is named: the best of several
on the study's own test rows would be chosen by what they differ by at random.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.adapter_files import CONFIG, WEIGHTS, check_adapter
from assay.errors import ConfigError, DataError, StorageError
from assay.generation.spec import GenerationJob
from assay.metaeval.study_tables.frame import RunRow
from assay.model_folders import BASE_KIND, MODEL_SUFFIXES, SHIPPED
from assay.records import INSTRUCTIONS
from assay.store import MANIFEST, Store
from assay.studies.prepared import PreparedStudy
from assay.studies.results.model_card import Exported, ModelKind, model_card
from assay.training.spec import ADAPTER_KIND

TOKENIZER_SUFFIXES = (".json", ".model", ".txt", ".jinja", ".tiktoken")
OF_TRAINING = ("summary.json",)
"""JSON files of a training's artifact that are not its model's."""
OWN_CONFIGS = ("config.json", "generation_config.json")
"""JSON files of a base model that are not its tokenizer's; so is the index of its shards."""


@dataclass(frozen=True)
class Choice:
    """Which model of a study."""

    arm: str
    base_model: str | None = None
    """As the tables name it; None: the only one."""
    draw: int | None = None
    """None: the first."""
    seed: int | None = None
    """None: the first."""


def best_arm(leaderboard: Sequence[Mapping[str, Any]], scorer: str, on: str | None, base_model: str | None) -> str:
    """The arm with the highest mean under a scorer, over all target sets or on one evaluation set.

    Args:
        leaderboard: rows of the study's table.
        scorer: its means are compared; higher is better.
        on: evaluation set; None: all but the instruction set, where every arm answered all of them.
        base_model: only its arms; None: of all base models.

    Raises:
        ConfigError: no such scorer or set, or arms that answered different sets.
    """
    rows = [
        row
        for row in leaderboard
        if row["mean"] is not None and row["mean"] == row["mean"] and base_model in (None, row["base_model"])
    ]
    _expect(scorer, sorted({row["scorer"] for row in rows}), "--best")
    rows = [row for row in rows if row["scorer"] == scorer]
    sets = sorted({row["evaluation_set"] for row in rows} - ({INSTRUCTIONS} if on is None else set()))
    if on is not None:
        _expect(on, sets, "--on")
        sets = [on]
    means: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        if row["evaluation_set"] in sets:
            means.setdefault(row["arm"], {})[row["base_model"], row["evaluation_set"]] = row["mean"]
    places = {place for found in means.values() for place in found}
    if partial := sorted(arm for arm, found in means.items() if set(found) != places):
        if on is None:
            raise ConfigError(
                f"--best {scorer}: saw arms that answered different evaluation sets ({partial[0]!r} not all of "
                f"{', '.join(sets)}); expected the same; name one set with --on"
            )
        raise ConfigError(f"--best {scorer} --on {on}: {partial[0]!r} is not there for every base; name --base-model")
    if not means:
        raise ConfigError(f"--best {scorer}: saw no arm with a mean on a target set; expected one; name --arm")
    return max(sorted(means), key=lambda arm: sum(means[arm].values()) / len(means[arm]))


def best_by_objective(objective: Sequence[Mapping[str, Any]], scorer: str, base_model: str | None) -> str:
    """The arm with the highest weighted mean under a scorer, of those that keep the study's constraint.

    Args:
        objective: rows of the study's table of that name, which knows weights and constraint.
        scorer: whose means are compared; higher is better.
        base_model: only its arms; None: of all, where one arm is the best of each.

    Raises:
        ConfigError: no such scorer, no arm that keeps the constraint, or another arm for each base model.
    """
    rows = [row for row in objective if base_model in (None, row["base_model"])]
    _expect(scorer, sorted({row["scorer"] for row in rows}), "--best")
    best: list[str] = sorted({row["arm"] for row in rows if row["scorer"] == scorer and row["is_best"]})
    if not best:
        raise ConfigError(
            f"--best {scorer}: saw no arm that keeps the study's constraint on forgetting by its interval; expected "
            "one; name --arm, or --on SET for the highest mean there"
        )
    if len(best) > 1:
        raise ConfigError(f"--best {scorer}: {', '.join(best)} are each the best of a base model; name --base-model")
    return best[0]


def export_model(
    prepared: PreparedStudy,
    store: Store,
    choice: Choice,
    out: Path,
    *,
    merge: bool,
    leaderboard: Sequence[Mapping[str, Any]] = (),
) -> Exported:
    """Write an arm's model into a folder; returns what was written.

    Args:
        prepared: the study.
        store: where its adapters and own bases lie.
        choice: which of its models.
        out: folder that is not there yet, or is empty.
        merge: whole weights in shards of at most 2 GB, instead of the adapter beside its base's name.
        leaderboard: of the finished study, for the card; empty: the card has no scores.

    Raises:
        ConfigError: no such model, one that has no adapter, or a folder that holds something.
        DataError: the model has not been trained yet.
        StorageError: the folder cannot be written.
    """
    run, job = _chosen(prepared, choice)
    is_whole = run.adapter_key in prepared.artifacts.whole and run.is_trained
    trained = job.base_key if is_whole else job.adapter_key
    if trained is None:
        raise ConfigError(f"--arm {run.arm!r}: saw its base model as it is; expected an arm that was trained")
    if not store.exists(ADAPTER_KIND, trained):
        raise DataError(
            f"study {prepared.study.name!r}: saw no model of {run.arm!r} (draw {run.draw}, seed {run.training_seed}) "
            f"in {store.uri}; expected it; run `assay run {prepared.study.name}` with the same --storage"
        )
    kind: ModelKind = "whole weights" if is_whole else "merged weights" if merge else "adapter"
    exported = _told(prepared, run, kind)
    folder = store.local_dir(ADAPTER_KIND, trained)
    try:
        _claim(out)
        if is_whole:
            _copy(folder, out, MODEL_SUFFIXES, without=OF_TRAINING)
        else:
            _write(prepared, store, job, check_adapter(folder), out, merge=merge)
        (out / "README.md").write_text(model_card(exported, leaderboard), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable folder") from error
    return exported


def _write(prepared: PreparedStudy, store: Store, job: GenerationJob, adapter: Path, out: Path, *, merge: bool) -> None:
    """An adapter beside its base's name, or merged into it."""
    is_own = store.exists(BASE_KIND, job.base_key)
    base = store.local_dir(BASE_KIND, job.base_key) if is_own else Path(job.base_path)
    if not is_own and not (job.base_path and base.is_dir()):
        raise DataError(f"study {prepared.study.name!r}: saw no folder of its base model; run it first")
    if merge:
        from assay.training.engine.resident_engine import merge_adapter

        merge_adapter(str(base), [str(adapter)], out, dtype=prepared.study.train.dtype)
    else:
        _write_adapter(adapter, base, job.base_source, out, is_own=is_own or job.base_source in SHIPPED)


def _told(prepared: PreparedStudy, run: RunRow, kind: ModelKind) -> Exported:
    """What the card says of a model."""
    plan = prepared.artifacts
    training = next((job for job in plan.trainings if job.key == plan.trained_by.get(run.predictions_key)), None)
    return Exported(
        prepared.study,
        prepared.key,
        run,
        plan.mixtures.get(run.mixture_key),
        kind,
        prepared.study.train if training is None else training.spec,
        next((cell.pairs for cell, key in plan.cells if key == run.adapter_key), None),
        plan.prefixes.get(run.predictions_key, ""),
    )


def _chosen(prepared: PreparedStudy, choice: Choice) -> tuple[RunRow, GenerationJob]:
    runs = list(prepared.artifacts.runs)
    _expect(choice.arm, sorted({run.arm for run in runs}), "--arm")
    runs = [run for run in runs if run.arm == choice.arm]
    bases = sorted({run.base_model for run in runs})
    if choice.base_model is None and len(bases) > 1:
        raise ConfigError(
            f"--arm {choice.arm!r}: saw several base models; name --base-model, one of {', '.join(bases)}"
        )
    base = choice.base_model or bases[0]
    _expect(base, bases, "--base-model")
    runs = sorted((run for run in runs if run.base_model == base), key=lambda run: (run.draw, run.training_seed))
    draw = runs[0].draw if choice.draw is None else choice.draw
    _expect(str(draw), sorted({str(run.draw) for run in runs}), "--draw")
    runs = [run for run in runs if run.draw == draw]
    seed = runs[0].training_seed if choice.seed is None else choice.seed
    _expect(str(seed), sorted({str(run.training_seed) for run in runs}), "--seed")
    run = next(run for run in runs if run.training_seed == seed)
    job = next((job for job in prepared.artifacts.generations if job.key == run.predictions_key), None)
    if job is None or run.is_given:
        raise ConfigError(f"--arm {run.arm!r}: saw a given model, which nobody trained here; it lies where it lay")
    return run, job


def _write_adapter(adapter: Path, base: Path, source: str, out: Path, *, is_own: bool) -> None:
    """Weights, configuration that names the base, tokenizer and, of a base that only Assay has, the base itself."""
    shutil.copyfile(adapter / WEIGHTS, out / WEIGHTS)
    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    hub_id, _, commit = ("" if is_own else source).partition("@")
    if is_own:
        _copy(base, out / "base", MODEL_SUFFIXES)
    config["base_model_name_or_path"] = hub_id or str((out / "base" if is_own else base).resolve())
    config["revision"] = commit or None
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _copy(base, out, TOKENIZER_SUFFIXES, without=OWN_CONFIGS)


def _copy(source: Path, target: Path, suffixes: tuple[str, ...], without: tuple[str, ...] = ()) -> None:
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        is_index = bool(without) and path.name.endswith(".index.json")
        is_wanted = path.suffix in suffixes and path.name not in (*without, MANIFEST) and not is_index
        if path.is_file() and is_wanted:
            shutil.copyfile(path, target / path.name)


def _claim(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: saw something there already; expected a folder that is new or empty")
    out.mkdir(parents=True, exist_ok=True)


def _expect(value: str, known: Sequence[str], flag: str) -> None:
    if value not in known:
        raise ConfigError(f"{flag} {value}: expected one of {', '.join(known) or 'none'}")
