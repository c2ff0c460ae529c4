"""The builtin studies, as Python values.

`quickstart` is the embedded default: a toy world whose truth is known, a tiny base trained on the spot, a rule-based
judge. `s1` is the data-mixture study of IFTEval (arXiv 2310.14103, section 3.1) on four 7B bases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.generation.spec import GenerationResources, GenerationSpec
from assay.scoring.jobs import ScoringResources
from assay.studies.design import MixtureGrid
from assay.studies.spec import (
    TINY,
    DataSpec,
    EvaluationSpec,
    JudgeConfig,
    StatisticsSpec,
    Study,
    StudyResources,
)
from assay.tasks.sources import SourceSpec, hub_source
from assay.training.spec import TrainResources, TrainSpec
from assay.training.tiny_base import TOY_BASE

TOY_TASKS = ("toy_sentiment", "toy_arithmetic", "toy_entities", "toy_question")

S1_TASKS = ("mnli", "qnli", "stsb", "sst2", "conll", "squadv2", "xsum")
S1_SIZES = (0, 10, 25, 50, 100, 200, 500, 1000)
S1_BASES = ("huggyllama/llama-7b", "EleutherAI/pythia-6.9b", "bigscience/bloom-7b1", "tiiuae/falcon-7b")


def quickstart() -> Study:
    """Four toy tasks x N x three draws on a tiny base: minutes on two cores, nothing from outside."""
    toy = {
        task: SourceSpec(loader="toyworld", task=task, num_train=1024, num_validation=60, num_test=100)
        for task in TOY_TASKS
    }
    instructions = SourceSpec(loader="toyworld", num_train=200, num_validation=24, num_test=60)
    return Study(
        name="quickstart",
        description="How many rows of a target task does an instruction mixture need, and which scorer can tell?",
        data=DataSpec(sources={"instructions": instructions, **toy}),
        base_models=(TINY,),
        tiny_base=TOY_BASE.replace(num_steps=1900, num_documents=30_400),
        grid=MixtureGrid(tasks=TOY_TASKS, sizes=(0, 16, 64, 256), draws=3, validation_rows=24),
        training_seeds_at_zero=(0, 1, 2),
        train=TrainSpec(
            lora_rank=32,
            lora_alpha=64,
            lora_dropout=0.0,
            target_modules="all-linear",
            learning_rate=5e-3,
            max_steps=None,
            num_epochs=4,
            batch_size=16,
            small_below=0,
            early_stopping_patience=None,
            eval_every=1000,
            max_length=192,
        ),
        generation=GenerationSpec(max_prompt_tokens=160, max_model_len=256),
        evaluation=EvaluationSpec(target_rows=100, instruction_rows=60, instruction_max_new_tokens=28),
        scorers=("exact_match", "token_f1", "rouge1", "rougeL", "heuristic", "judge", "truth"),
        judge=JudgeConfig(requests_per_min=30_000, max_concurrency=64),
        statistics=StatisticsSpec(human="truth"),
        resources=StudyResources(
            training=TrainResources(micro_batch_size=16),
            generation=GenerationResources(max_num_seqs=256),
            scoring=ScoringResources(),
        ),
    )


def s1() -> Study:
    """IFTEval's S1 on its four 7B bases: 7 tasks x 8 sizes x 4 draws, priced before it is run."""
    files = {
        # these two need answers made of several columns: files of rows in the form that the loader reads
        task: SourceSpec(loader="jsonl", path=f"tasks/{task}", task=task)
        for task in ("stsb", "conll")
    }
    hub = {task: hub_source(task) for task in S1_TASKS if task not in files}
    alpaca = SourceSpec(loader="hub", hub="vicgalle/alpaca-gpt4", split_rule="strict")
    return Study(
        name="s1",
        description="IFTEval S1: N rows of a target task in a general instruction mixture, on four 7B base models.",
        data=DataSpec(sources={"instructions": alpaca, **hub, **files}),
        base_models=S1_BASES,
        grid=MixtureGrid(tasks=S1_TASKS, sizes=S1_SIZES, draws=4, validation_rows=1000),
        train=TrainSpec(dtype="bfloat16"),
        generation=GenerationSpec(dtype="bfloat16"),
        evaluation=EvaluationSpec(target_rows=500, instruction_rows=240),
        judge=JudgeConfig(model="gpt-4o"),
        resources=StudyResources(
            training=TrainResources(gpus_per_worker=1, cpus_per_worker=4, packing=True, checkpoint_every=50),
            generation=GenerationResources(gpus_per_engine=1, cpus_per_engine=4, num_engines=4, blocks_per_call=8),
            scoring=ScoringResources(judge_workers=4),
        ),
    )


BUILTIN: Mapping[str, Callable[[], Study]] = {"quickstart": quickstart, "s1": s1}
"""Builtin studies by name."""
