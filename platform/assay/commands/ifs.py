"""`assay metaeval ifs`, and what IFS studies share with it: load, measure, print, write, draw, track."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.options import KeyOption, LedgerStorageOption, TrackingOption, set_option
from assay.config import apply_overrides, read_yaml, validate
from assay.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from assay.store import Store
    from assay.studies.ifs_models.measure import IfsResult
    from assay.studies.ifs_models.spec import IfsStudy

KIND = "ifs_models"
FORMATS = ("alpaca", "jsonl", "sharegpt", "messages", "openassistant")
SEPARATOR = "::"
"""Between a base model and the folder of an adapter on it."""


@dataclass(frozen=True)
class IfsOptions:
    """What `assay metaeval ifs` measures with."""

    dialogues: Annotated[
        str,
        typer.Option(metavar="FILE|toy", help="Dialogues: the prompts and the classifier's texts; toy: the toy world."),
    ]
    form: Annotated[str, typer.Option("--format", help=f"Of the file: {', '.join(FORMATS)}.")] = "alpaca"
    tone: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A saved tone classifier; default: trained on --dialogues.")
    ] = None
    encoder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Fine-tune this encoder as the classifier (slower).")
    ] = None
    embedding: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Classify by the embeddings of this encoder.")
    ] = None
    save_tone: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Keep a copy of the classifier.")] = None
    prompts: Annotated[
        str, typer.Option(help="How models see a prompt: A, B, C, assay, or chat, their own template.")
    ] = "A,B,C"
    num_prompts: Annotated[int, typer.Option("--n", metavar="N", min=2, help="Prompts, half of them fragments.")] = 300
    seed: Annotated[int, typer.Option(help="Of the prompt set.")] = 0
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Of a response.")] = 64
    base_url: Annotated[str | None, typer.Option(help="Ask the models at this OpenAI-compatible endpoint.")] = None
    api_key_env: KeyOption = "OPENAI_API_KEY"
    overrides: Annotated[list[str] | None, set_option("Override a field of the study, e.g. generation.dtype.")] = None


def ifs_command(
    *,
    model: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]MODEL",
            help="Folder, hub id, BASE::ADAPTER_FOLDER, or a model at --base-url. May be repeated; the first is the "
            "one that the others are compared with.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="The report; responses and a figure lie beside it.")],
    flags: IfsOptions,
    storage: LedgerStorageOption = "runs",
    tracking: TrackingOption = None,
) -> None:
    """Instruction Following Score of any models: raw and corrected, on fragments and on whole instructions."""
    from assay.commands.judges.reports import check_writable
    from assay.commands.study import refuse_temporary_storage
    from assay.tracking.track_report import tracking_uri

    check_writable(out)
    refuse_temporary_storage(storage)
    uri = tracking_uri(tracking, storage)
    study = study_of_flags(model, flags)
    store, result = measured(study, storage)
    if flags.save_tone is not None:
        _save_tone(result, store, flags.save_tone)
    figure = _write(result, out)
    print_report(result.report)
    typer.echo(f"all figures: {out}; responses: {responses_file(out)}; drawn: {figure}")
    files = {path.name: path.read_bytes() for path in (out, figure, responses_file(out))}
    track_result(study, result.report, files, uri)


def is_ifs_study(reference: str) -> bool:
    """Whether a builtin name or a YAML file is an IFS study."""
    if Path(reference).suffix in (".yaml", ".yml"):
        data = read_yaml(Path(reference))
        return data.get("kind") == KIND or data.get("extends") in _builtin()
    return reference in _builtin()


def load_ifs_study(reference: str, overrides: Sequence[str]) -> IfsStudy:
    """A builtin IFS study or one from a YAML file (which may extend a builtin one), with overrides.

    Raises:
        ConfigError: it does not validate.
    """
    from assay.studies.catalog import merge
    from assay.studies.ifs_models.spec import IfsStudy

    if reference in _builtin():
        data: dict[str, Any] = _builtin()[reference]().model_dump(mode="json")
    else:
        data = read_yaml(Path(reference))
        parent = data.pop("extends", None)
        if parent is not None:
            data = merge(_builtin()[parent]().model_dump(mode="json"), data)
    return validate(IfsStudy, apply_overrides(data, overrides), f"study {reference!r}")


def study_of_flags(models: Sequence[str], flags: IfsOptions) -> IfsStudy:
    """The study that the flags of `assay metaeval ifs` describe.

    Raises:
        ConfigError: a flag that makes no sense.
    """
    from assay.studies.ifs_models.spec import IfsStudy

    classifier = _classifier(flags.encoder, flags.embedding)
    if flags.tone is not None and classifier:
        raise ConfigError("--tone with --encoder or --embedding: expected a saved classifier or a new one, not both")
    root, source = _source(flags.dialogues, flags.form)
    fields: dict[str, Any] = {
        "name": "ifs",
        "models": [_model(text, flags.base_url, flags.api_key_env) for text in models],
        "root": root,
        "dialogues": source,
        "tone_folder": str(flags.tone) if flags.tone else None,
        "tone": {"spec": classifier, "source": source} if classifier else None,
        "prompts": [part.strip() for part in flags.prompts.split(",") if part.strip()],
        "num_prompts": flags.num_prompts,
        "seed": flags.seed,
        "max_new_tokens": flags.max_new_tokens,
    }
    return validate(IfsStudy, apply_overrides(fields, flags.overrides or []), "assay metaeval ifs")


def print_report(report: Mapping[str, Any]) -> None:
    """The classifier, then a line per model and prompt."""
    tone, prompts = report["tone"], report["prompts"]
    for name in ("sensitivity", "specificity"):
        typer.echo(f"classifier {name}: {tone[name]['num_right']:,} of {tone[name]['n']:,} held-out texts right")
    validation = tone["validation"]
    if validation is not None:
        typer.echo(
            f"classifier accuracy {_interval(validation['classifier']['accuracy'])}, "
            f"ECE {validation['calibration']['ece']['value']:.3f}; the case rule's on the same texts, whose case gives "
            f"them away, {_interval(validation['rule']['accuracy'])}"
        )
    typer.echo(f"{prompts['n']} prompts, {prompts['fragments']} of them fragments (partial)")
    width = max(12, *(len(row["model"]) for row in report["rows"]))
    parts = ("corrected IFS", "IFS", "IFS partial", "IFS full")
    head = "".join(f"{part:<21}" for part in parts)
    typer.echo(f"{'model':<{width}} prompt  {head}    n missing empty  by case")
    for row in report["rows"]:
        cells = [row["overall"]["corrected"], *(row[name]["raw"] for name in ("overall", "partial", "full"))]
        missing = sum(row["missing"].values())
        typer.echo(
            f"{row['model']:<{width}} {row['prompt']:<7} "
            + "".join(f"{_interval(cell):<21}" for cell in cells)
            + f"{row['num_prompts'] - missing:>5} {missing:>7} {row['num_empty']:>5} {_value(row['case_rule']):>8}"
        )
        if row["missing"]:
            typer.echo(f"{'':<{width}} missing: " + ", ".join(f"{n} {why}" for why, n in row["missing"].items()))
        if row["overall"]["corrected"].get("reason"):
            typer.echo(f"{'':<{width}} {row['overall']['corrected']['reason']}")
    typer.echo(
        'by case: share of the same responses that do not begin with a lower-case letter, the rule\'s "answer-like"'
    )
    for row in report["rows"]:
        if "versus_first" in row:
            told = _interval(row["versus_first"]["corrected"])
            typer.echo(
                f"{row['model']} - {row['versus_first']['model']}, {row['prompt']}: corrected IFS {told}, paired"
            )


def responses_file(out: Path) -> Path:
    """Where the responses behind a report lie."""
    return out.with_suffix(".responses.jsonl")


# --- pieces ----------------------------------------------------------------------------------------------------------


def _builtin() -> Mapping[str, Any]:
    from assay.studies.ifs_models.builtin import IFS_STUDIES

    return IFS_STUDIES


def measured(study: IfsStudy, storage: str) -> tuple[Store, IfsResult]:
    """The study measured, and the store that holds its answers."""
    from assay.cluster.environment import prepare_ray_environment
    from assay.commands.progress import console_progress
    from assay.llm.ledger.tables import ledger_url
    from assay.store import Store
    from assay.studies.ifs_models.measure import measure_ifs

    store = Store(storage)
    store.check_writable()
    prepare_ray_environment()
    return store, measure_ifs(study, store, console_progress(), ledger_url(storage))


def _classifier(encoder: Path | None, embedding: Path | None) -> dict[str, Any]:
    if encoder is not None and embedding is not None:
        raise ConfigError("--encoder with --embedding: expected at most one of them")
    if encoder is not None:
        return {"kind": "encoder", "encoder": str(encoder)}
    return {"kind": "embedding", "encoder": str(embedding)} if embedding is not None else {}


def _source(dialogues: str, form: str) -> tuple[str | None, dict[str, Any]]:
    if dialogues == "toy":
        from assay.tone.artifact import TOY_TONE_SOURCE

        return None, TOY_TONE_SOURCE.model_dump(mode="json")
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: expected one of {', '.join(FORMATS)}")
    path = Path(dialogues).expanduser().resolve()
    source = {"loader": form, "path": path.name, "split_rule": "strict", "name": path.name, "on_unanswered": "skip"}
    return str(path.parent), {**source, "turns": "first"}


def _model(text: str, base_url: str | None, api_key_env: str) -> dict[str, Any]:
    name, separator, reference = text.partition("=")
    if not separator:
        name, reference = "", text
    base, _, adapter = reference.partition(SEPARATOR)
    label = name or Path(adapter or base).name or base
    fields: dict[str, Any] = {"name": label, "model": base, "adapter": adapter or None}
    return {**fields, "base_url": base_url, "api_key_env": api_key_env} if base_url else fields


def _save_tone(result: IfsResult, store: Store, folder: Path) -> None:
    from assay.tone.artifact import load_tone

    key = result.report["tone"].get("key")
    if key is None:
        raise ConfigError("--save-tone with --tone: the classifier is in a folder already; expected one of them")
    load_tone(store, key).save(folder)
    typer.echo(f"classifier kept in {folder}")


def _write(result: IfsResult, out: Path) -> Path:
    figure = out.with_suffix(".svg")
    try:
        out.write_bytes(json_bytes(result.report))
        responses_file(out).write_bytes(json_lines(result.rows()))
        figure.write_text(figure_of(result.report), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from None
    return figure


def figure_of(report: Mapping[str, Any]) -> str:
    """The report drawn, as SVG."""
    from assay.reports.ifs_models_plot import ifs_svg

    return ifs_svg(report)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """A JSON file."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def json_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def track_result(study: IfsStudy, report: Mapping[str, Any], files: Mapping[str, bytes], uri: str | None) -> None:
    """A child run per model and prompt."""
    from assay.tracking.track_report import track_report

    if uri is None:
        return
    children = []
    for row in report["rows"]:
        numbers = {"n": row["num_prompts"] - sum(row["missing"].values()), "missing": sum(row["missing"].values())}
        for part in ("overall", "partial", "full"):
            for kind in ("raw", "corrected"):
                estimate = row[part][kind]
                name = f"ifs_{kind}" if part == "overall" else f"ifs_{part}_{kind}"
                numbers |= {name: estimate["value"], f"{name}.low": estimate["low"], f"{name}.high": estimate["high"]}
        named = {"model": row["model"], "prompt": row["prompt"]}
        children.append((f"{row['model']} {row['prompt']}", named, numbers))
    params = {
        "models": ", ".join(model.name for model in study.models),
        "prompts": ", ".join(study.prompts),
        "num_prompts": study.num_prompts,
        "seed": study.seed,
        "tone": report["tone"].get("key") or "folder",
    }
    experiment = study.tracking.experiment or ("metaeval-ifs" if study.name == "ifs" else study.name)
    track_report(uri, experiment, study.name, params, children, files, role="model")
    typer.echo(f"MLflow: {uri}")


def _value(estimate: Mapping[str, Any]) -> str:
    return "–" if estimate["value"] is None else f"{estimate['value']:.3f}"


def _interval(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return f"– ({estimate.get('reason') or 'undefined'})"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
