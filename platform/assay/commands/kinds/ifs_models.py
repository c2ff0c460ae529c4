"""Studies that measure the Instruction Following Score of models as they are, or tuned once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from assay.commands.kinds.kind import Named, Points
from assay.commands.options import RunFlags
from assay.errors import ConfigError, fitted
from assay.studies.planning.throughput import Rates

if TYPE_CHECKING:
    from assay.store import Store
    from assay.studies.ifs_models.spec import IfsStudy

REPORT, RESPONSES, FIGURE = "ifs.json", "responses.jsonl", "figures/ifs.svg"
DEFINITION = "ifs_study.json"
"""The study as it was run."""
PARTS = ("overall", "partial", "full")
KINDS = ("corrected", "raw")


class IfsModelStudies:
    """See `StudyKind`."""

    def knows(self, reference: str) -> bool:
        from assay.commands.ifs import is_ifs_study

        return is_ifs_study(reference)

    def wrote(self, store: Store, name: str) -> bool:
        return store.study_has(name, REPORT)

    def plan(self, study: Named, speed: Rates | None, *, as_json: bool) -> None:
        from assay.commands.ifs import load_ifs_study

        spec = load_ifs_study(study.reference, study.overrides)
        responses = len(spec.models) * len(spec.prompts) * spec.num_prompts
        asked = sum(model.base_url is not None for model in spec.models) * len(spec.prompts) * spec.num_prompts
        tuned = sum(model.tuned for model in spec.models)
        made = {
            "study": spec.name,
            "models": len(spec.models),
            "prompts": list(spec.prompts),
            "num_prompts": spec.num_prompts,
            "distinct_trainings": tuned,
            "predictions": responses,
            "endpoint_calls": asked,
            "judge_calls": 0,
        }
        if as_json:
            typer.echo(json.dumps(made, indent=2))
            return
        each = f"each model, {len(spec.prompts)} kinds of prompts, {spec.num_prompts:,} prompts"
        lines = [
            fitted(f"{spec.name}: {spec.description}" if spec.description else spec.name, 2),
            f"  models               {len(spec.models):>14,}",
            f"  distinct trainings   {tuned:>14,}   models that are tuned first",
            f"  predictions          {responses:>14,}   {each}",
            f"  calls of endpoints   {asked:>14,}   of these; the ledger's are not paid again",
            f"  judge calls          {0:>14,}   answers are read by a classifier",
        ]
        typer.echo("\n".join(lines))

    def run(self, study: Named, flags: RunFlags) -> None:
        from assay.commands.ifs import figure_of, json_lines, load_ifs_study, measured, print_report, track_result
        from assay.commands.ifs import json_bytes as as_json
        from assay.commands.stopping import clean_stop
        from assay.commands.study import refuse_temporary_storage, refuse_unsupported
        from assay.tracking.track_report import tracking_uri

        if flags != RunFlags():
            raise ConfigError(
                f"{study.reference}: an IFS study knows no --max-usd, --until, --retry-failed, --keep, --preflight, "
                "--loss or --log-json; leave them out"
            )
        refuse_temporary_storage(study.storage)
        spec = load_ifs_study(study.reference, study.overrides)
        uri = tracking_uri(spec.tracking.uri, study.storage, "tracking.uri")
        refuse_unsupported(spec.resources)
        with clean_stop():
            store, result = measured(spec, study.storage)
        files = {
            RESPONSES: json_lines(result.rows()),
            FIGURE: figure_of(result.report).encode(),
            DEFINITION: as_json(spec.model_dump(mode="json")),
            REPORT: as_json(result.report),
        }
        for name, data in files.items():
            store.write_study_bytes(spec.name, name, data)
        print_report(result.report)
        _say_where(store, spec.name)
        track_result(spec, result.report, _tracked(files), uri)

    def status(self, study: Named, *, as_json: bool) -> None:
        from assay.commands.ifs import is_ifs_study, load_ifs_study
        from assay.commands.study import print_status
        from assay.fingerprint import fingerprint
        from assay.store import Store

        store = Store(study.storage)
        is_named = is_ifs_study(study.reference)
        spec = load_ifs_study(study.reference, study.overrides) if is_named else _definition(store, study.reference)
        wanted = {(model.name, prompt) for model in spec.models for prompt in spec.prompts}
        there: set[tuple[str, str]] = set()
        if store.study_has(spec.name, DEFINITION) and store.study_has(spec.name, REPORT):
            stored = _definition(store, spec.name)
            if stored.identity() == spec.identity():
                there = {(row["model"], row["prompt"]) for row in store.read_study_json(spec.name, REPORT)["rows"]}
        print_status(
            {
                "study": spec.name,
                "key": fingerprint(spec.identity()),
                "storage": store.uri,
                "finished": wanted <= there,
                "stages": [{"stage": "measured", "wanted": len(wanted), "done": len(wanted & there)}],
                "report": store.study_path(spec.name, REPORT) if wanted <= there else None,
                "last": None,
                "decisions": [],
            },
            as_json=as_json,
        )

    def report(self, store: Store, name: str, audit: Path | None) -> None:
        from assay.commands.ifs import figure_of, print_report

        if audit is not None:
            raise ConfigError(f"report {name}: saw --audit; an IFS study asks no judge; leave it out")
        report = store.read_study_json(name, REPORT)
        store.write_study_bytes(name, FIGURE, figure_of(report).encode())
        print_report(report)
        _say_where(store, name)

    def points(self, store: Store, name: str) -> Mapping[str, Points]:
        report = store.read_study_json(name, REPORT)
        named = ("model", "prompt", "part", "kind")
        found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        for row in report["rows"]:
            for part in PARTS:
                for kind in KINDS:
                    estimate = row[part][kind]
                    key = (row["model"], row["model"], row["prompt"], part, kind)
                    found[key] = {"mean": estimate["value"], "low": estimate["low"], "high": estimate["high"]}
        return {"ifs": Points("model and prompt", named, found)}

    def track(self, store: Store, name: str, uri: str | None) -> None:
        from assay.commands.ifs import track_result
        from assay.tracking.track_report import tracking_uri

        spec = _definition(store, name)
        asked = ("--uri", uri) if uri is not None else ("tracking.uri", spec.tracking.uri)
        files = {part: store.read_study_bytes(name, part) for part in (REPORT, RESPONSES, FIGURE)}
        to = tracking_uri(asked[1], store.uri, asked[0])
        track_result(spec, store.read_study_json(name, REPORT), _tracked(files), to)


def _definition(store: Store, name: str) -> IfsStudy:
    from assay.config import validate
    from assay.studies.ifs_models.spec import IfsStudy

    if not store.study_has(name, DEFINITION):  # of a study that was measured before it was kept
        raise ConfigError(
            f"study {name!r}: saw no {DEFINITION} in its folder; expected one; run the study again: its answers are in "
            "the store"
        )
    return validate(IfsStudy, store.read_study_json(name, DEFINITION), store.study_path(name, DEFINITION))


def _tracked(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.rsplit("/", 1)[-1]: data for name, data in files.items() if name != DEFINITION}


def _say_where(store: Store, name: str) -> None:
    typer.echo(f"all figures: {store.study_path(name, REPORT)}")
    typer.echo(f"drawn:       {store.study_path(name, *FIGURE.split('/'))}")
