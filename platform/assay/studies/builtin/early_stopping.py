"""The studies of early stopping: when has instruction tuning taught the format (arXiv 2307.03692)?"""

from __future__ import annotations

from assay.generation.spec import GenerationSpec
from assay.ifs.trial_spec import TrialIfsSpec
from assay.studies.builtin.parts import (
    ALPACA,
    GPU_RESOURCES,
    TOY_GENERATION,
    TOY_JUDGE,
    TOY_NEW_TOKENS,
    TOY_RESOURCES,
    TOY_TRAIN,
)
from assay.studies.designs import TargetGrid
from assay.studies.spec import TINY, DataSpec, EvaluationSpec, JudgeConfig, StatisticsSpec, Study
from assay.tasks.datasets.sources import SourceSpec, hub_source, toy_source
from assay.tone.artifact import ToneConfig
from assay.training.spec import TrainSpec
from assay.training.tiny_base.spec import QUICK_BASE


def early_stopping() -> Study:
    """IFS and ObjecQA every 1,280 rows of general instruction data, on 7B bases; each training in full and stopped."""
    dolly = SourceSpec(
        loader="hub",
        hub="databricks/databricks-dolly-15k",
        columns={"instruction": "instruction", "input": "context", "output": "response"},
        split_rule="strict",
    )
    return Study(
        name="early_stopping",
        description="When is the format infused, what does stopping there save, and what moves afterwards?",
        data=DataSpec(sources={"instructions": ALPACA, "sst2": hub_source("sst2")}),
        base_models=("huggyllama/llama-7b", "EleutherAI/pythia-6.9b"),
        grid=TargetGrid(tasks=("sst2",), sizes=(0, 500), draws=1, validation_rows=500),
        train=TrainSpec(
            dtype="bfloat16", max_steps=200, eval_every=10, early_stopping_patience=None, restore_best=False
        ),
        generation=GenerationSpec(dtype="bfloat16"),
        evaluation=EvaluationSpec(target_rows=500, instruction_rows=240),
        ifs=TrialIfsSpec(every_steps=10, prompts=ALPACA, tone=ToneConfig(source=dolly)),
        judge=JudgeConfig(model="gpt-4o-mini"),
        resources=GPU_RESOURCES,
    )


def early_stopping_small() -> Study:
    """The same in the toy world: half of the training instructions break off, as the tiny base answers whole ones."""
    sentiment = toy_source("toy_sentiment", train=256, validation=24, test=100)
    instructions = toy_source(train=384, validation=24, test=24, unfinished=0.5)
    return Study(
        name="early_stopping_small",
        description="When is the format infused, what does stopping there save, and what moves afterwards?",
        data=DataSpec(sources={"instructions": instructions, "toy_sentiment": sentiment}),
        base_models=(TINY,),
        tiny_base=QUICK_BASE,
        grid=TargetGrid(tasks=("toy_sentiment",), sizes=(64,), draws=1, validation_rows=24),
        training_seeds=(0, 1),
        train=TOY_TRAIN.replace(learning_rate=3e-3, num_epochs=3, eval_every=4, restore_best=False),
        generation=TOY_GENERATION,
        evaluation=EvaluationSpec(target_rows=100, instruction_rows=24, instruction_max_new_tokens=TOY_NEW_TOKENS),
        ifs=TrialIfsSpec(every_steps=4, max_new_tokens=20, objecqa="toy", objecqa_max_new_tokens=16),
        scorers=("exact_match", "token_f1", "judge", "truth"),
        judge=TOY_JUDGE,
        statistics=StatisticsSpec(human="truth"),
        resources=TOY_RESOURCES,
    )
