"""`assay generate`: answers of models as they are to a file of prompts, or to an evaluation set of a study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.options import CallOptions, LedgerOptions
from assay.commands.stopping import stoppable
from assay.config import validate
from assay.errors import ConfigError, DataError, StageError, StorageError
from assay.generation.spec import GenerationResources, GenerationSpec
from assay.llm.transport_kind import TRANSPORTS
from assay.option_groups import with_groups
from assay.records import Example, Prediction
from assay.studies.given.model import GivenModel, read_reference

if TYPE_CHECKING:
    from assay.generation.spec import GenerationJob
    from assay.studies.given.found import Given

STUDY_NAME = "generate"
"""What the ledger books calls under."""


@dataclass(frozen=True)
class AskedRows:
    """What is asked, and where answers go."""

    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="A row per model and prompt.")]
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows of prompt (and input), or of messages: turns, system text, tools."),
    ] = None
    study: Annotated[
        str | None, typer.Option(metavar="STUDY", help="With --set: whose evaluation set is asked instead.")
    ] = None
    set_name: Annotated[str | None, typer.Option("--set", metavar="NAME", help="Evaluation set of --study.")] = None
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many prompts, the first ones.")] = (
        None
    )


@dataclass(frozen=True)
class Writing:
    """How models that run here write."""

    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens of an answer.")] = 256
    temperature: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, max=2, help="0 is greedy; an endpoint is sent it too.")
    ] = 0.0
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of sampling.")] = 0
    style: Annotated[
        str,
        typer.Option("--prompt-style", help="chat (the model's own template), alpaca, alpaca_full, suffix or bare."),
    ] = "chat"
    engine: Annotated[str, typer.Option(help="vllm, or hf: transformers.")] = "vllm"
    model_dtype: Annotated[str, typer.Option("--model-dtype", help="float32 or bfloat16.")] = "float32"
    max_model_len: Annotated[int, typer.Option(metavar="N", min=32, help="Tokens of prompt and answer.")] = 2048
    gpus_per_engine: Annotated[float, typer.Option(metavar="NUMBER", min=0, help="0 runs on the CPU.")] = 0.0

    def spec(self) -> GenerationSpec:
        """Identity of the answers.

        Raises:
            ConfigError: a word that is none.
        """
        fields = {
            "engine": self.engine,
            "dtype": self.model_dtype,
            "prompt": {"style": self.style},
            "temperature": self.temperature,
            "seed": self.seed,
            "max_model_len": self.max_model_len,
            "max_prompt_tokens": max(16, self.max_model_len - self.max_new_tokens),
        }
        return validate(GenerationSpec, fields, "generate")


def register(app: typer.Typer) -> None:
    """Add the command to `assay`."""
    app.command("generate")(with_groups(stoppable(generate)))


def generate(
    *,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="[NAME=]MODEL[+ADAPTER]",
            help="Folder or hub id, with a LoRA folder where wished; with --base-url the name there. Repeatable.",
        ),
    ],
    base_url: Annotated[
        str | None, typer.Option(help="Ask this OpenAI-compatible endpoint, up to and with /v1, for each --model.")
    ] = None,
    rows: AskedRows,
    how: Writing,
    kept: LedgerOptions,
    calls: CallOptions,
) -> None:
    """Answers of models to prompts: one engine for each base, or an endpoint; known answers are not made again."""
    models = given_models(model, base_url, calls)
    examples = asked_rows(rows, kept.storage)
    found = answers(models, examples, how, kept, calls.max_usd)
    write_answers(rows.out, models, examples, found)


def given_models(references: Sequence[str], base_url: str | None, calls: CallOptions) -> list[GivenModel]:
    """The models that the flags name.

    Raises:
        ConfigError: two of one name, or a model that makes no sense.
    """
    if calls.retry_unreadable:
        raise ConfigError("--retry-unreadable: is for judges, whose replies are read; leave it out")
    if calls.transport not in TRANSPORTS:
        raise ConfigError(f"--transport {calls.transport}: expected one of {', '.join(TRANSPORTS)}")
    is_asked = base_url is not None or not TRANSPORTS[calls.transport].is_remote
    made = []
    for text in references:
        name, model, adapter = read_reference(text)
        reach = {**calls.reach(), **({} if base_url is None else {"base_url": base_url})} if is_asked else {}
        fields = {**reach, "name": name, "model": model, "adapter": adapter}
        made.append(validate(GivenModel, fields, f"--model {text}"))
    names = [one.name for one in made]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--model: saw two named {twice[0]!r}; expected names to differ; write NAME=MODEL")
    return made


def asked_rows(rows: AskedRows, storage: str) -> list[Example]:
    """The prompts of a file, or the rows of a study's evaluation set.

    Raises:
        ConfigError: neither, or both.
        DataError: rows that cannot be read.
    """
    if (rows.prompts is None) == (rows.study is None or rows.set_name is None):
        raise ConfigError("generate: expected --prompts FILE, or --study STUDY with --set NAME")
    if rows.prompts is not None:
        from assay.tasks.datasets.prompts import read_prompts

        return read_prompts(rows.prompts, rows.limit)
    from assay.commands.study import embedded_judge
    from assay.store import Store
    from assay.studies.artifacts import evaluation_sets
    from assay.studies.catalog import load_study
    from assay.studies.inputs import dataset_keys, store_datasets

    study, store = load_study(str(rows.study)), Store(storage)
    keys = dataset_keys(study, embedded_judge().name)
    sets = evaluation_sets(study, keys)
    if rows.set_name not in sets:
        raise ConfigError(f"--set {rows.set_name}: expected one of the evaluation sets {', '.join(sorted(sets))}")
    return store_datasets(study, store, keys).evaluation_rows(sets[rows.set_name])[: rows.limit]


def answers(
    models: Sequence[GivenModel], examples: Sequence[Example], how: Writing, kept: LedgerOptions, max_usd: float | None
) -> dict[str, list[Prediction]]:
    """Answers by model, in the order of the prompts; what the storage lacks is made.

    Raises:
        InputError: a model that cannot be found or reached.
        StageError: a model that answers nothing.
        LimitReached: the dollars are used up; the same command continues.
    """
    from assay.commands.progress import console_progress
    from assay.generation.spec import KIND, PREDICTIONS_FILE, GenerationJob
    from assay.llm.ledger.tables import ledger_url
    from assay.model_folders import find_model
    from assay.records import from_table
    from assay.store import Store
    from assay.studies.given.answers import Booking, rows_key, store_given
    from assay.studies.given.found import Place, answers_job, find_given

    spec, store, progress = how.spec(), Store(kept.storage), console_progress()
    key = rows_key(examples)
    jobs: dict[str, GenerationJob | Given] = {}
    for name, model in find_given(models).items():
        place = None
        if model.spec.base is not None:
            base = find_model(model.spec.base, "model")
            place = Place(base.key, base.path, base.source)
        jobs[name] = answers_job(model, place, spec, evaluation_key=key, max_new_tokens=how.max_new_tokens)
    local = [job for job in jobs.values() if isinstance(job, GenerationJob)]
    asked = [job for job in jobs.values() if not isinstance(job, GenerationJob)]
    if missing := [job for job in local if not store.exists(KIND, job.key)]:
        _run_engines(store, missing, {key: examples}, how, progress)
    booking = Booking(ledger_url(kept.storage, kept.ledger), STUDY_NAME, max_usd)
    for said in store_given(store, asked, {key: examples}, booking, progress):
        typer.echo(said)
    found = {}
    for name, job in jobs.items():
        rows = from_table(store.read_table(KIND, job.key, PREDICTIONS_FILE), Prediction)
        by_id = {row.example_id: row for row in rows}
        found[name] = [by_id[example.example_id] for example in examples]
    return found


def _run_engines(store: Any, jobs: list[GenerationJob], examples: Any, how: Writing, progress: Any) -> None:
    from assay.cluster.environment import prepare_ray_environment
    from assay.commands.study import refuse_unsupported
    from assay.studies.resources import StudyResources, check_resources

    resources = StudyResources(generation=GenerationResources(gpus_per_engine=how.gpus_per_engine))
    refuse_unsupported(resources)
    prepare_ray_environment()
    from assay.cluster.ray_cluster import ray_cluster
    from assay.generation.ray_generate import run_generation

    with ExitStack() as stack:
        stack.enter_context(ray_cluster(resources))
        check_resources(resources)
        report = run_generation(store, jobs, examples, how.spec(), resources.generation, progress)
    if report.failed:
        key, reason = next(iter(report.failed.items()))
        raise StageError(f"generate: a model answers nothing ({reason}; {key}); fix it and run the same command again")


def write_answers(
    out: Path, models: Sequence[GivenModel], examples: Sequence[Example], found: dict[str, list[Prediction]]
) -> None:
    """A row per model and prompt, and a line of counts per model on the console.

    Raises:
        StorageError: the file cannot be written.
    """
    from assay.studies.given.answers import question_of

    lines = []
    for model in models:
        rows = found[model.name]
        for example, row in zip(examples, rows, strict=True):
            told: dict[str, Any] = {"id": example.example_id, "model": model.name, "question": question_of(example)}
            told |= {"response": row.prediction, "finish_reason": row.finish_reason, "num_tokens": row.num_tokens}
            told |= {"reference": example.reference} if example.reference else {}
            told |= {"missing": row.error} if row.error else {}
            told |= {"prompt_cut": True} if row.prompt_cut else {}
            lines.append(json.dumps(told, ensure_ascii=False))
        errors, cut = sum(row.error is not None for row in rows), sum(row.finish_reason == "length" for row in rows)
        prompts = sum(row.prompt_cut for row in rows)
        typer.echo(
            f"{model.name}: {len(rows) - errors:,} of {len(rows):,} prompts answered, {cut:,} answers ended by "
            f"--max-new-tokens, {prompts:,} prompts cut"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable file") from error
    if not any(row.error is None for rows in found.values() for row in rows):
        raise DataError(f"generate: no prompt was answered; the reasons are in {out}")
    typer.echo(f"{len(lines):,} answers in {out}; `assay rank --answers {out}` ranks them")
