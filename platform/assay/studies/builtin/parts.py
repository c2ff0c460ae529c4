"""What several builtin studies are made of: the toy world on two cores, and the hub's data with 7B models on GPUs."""

from __future__ import annotations

from assay.generation.spec import GenerationResources, GenerationSpec
from assay.scoring.jobs import ScoringResources
from assay.studies.resources import StudyResources
from assay.studies.spec import JudgeConfig
from assay.tasks.datasets.sources import SourceSpec
from assay.training.spec import TrainResources, TrainSpec

TOY_TRAIN = TrainSpec(
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
)
"""Four passes over a few hundred rows, without early stopping."""
TOY_GENERATION = GenerationSpec(max_prompt_tokens=160, max_model_len=256)
"""All that a tiny base has positions for."""
TOY_NEW_TOKENS = 28
"""Tokens of an answer to an instruction of the toy world."""
TOY_JUDGE = JudgeConfig(requests_per_min=30_000, max_concurrency=64)
"""The embedded judge, as fast as it answers."""
TOY_RESOURCES = StudyResources(training=TrainResources(micro_batch_size=16))

ALPACA = SourceSpec(loader="hub", hub="vicgalle/alpaca-gpt4", split_rule="strict")
"""Alpaca-GPT4: general instruction data."""
GPU_RESOURCES = StudyResources(
    training=TrainResources(gpus_per_worker=1, cpus_per_worker=4, packing=True, checkpoint_every=50),
    generation=GenerationResources(gpus_per_engine=1, cpus_per_engine=4),
    scoring=ScoringResources(judge_workers=4),
)
