"""The studies of early stopping: when has instruction tuning taught the format (arXiv 2307.03692)?"""

from __future__ import annotations

from assay.generation.spec import GenerationResources, GenerationSpec
from assay.scoring.jobs import ScoringResources
from assay.studies.design import MixtureGrid
from assay.studies.spec import TINY, DataSpec, EvaluationSpec, JudgeConfig, StatisticsSpec, Study, StudyResources
from assay.studies.tone import ToneConfig
from assay.studies.trial_ifs import TrialIfsSpec
from assay.tasks.sources import SourceSpec, hub_source
from assay.training.spec import TrainResources, TrainSpec
from assay.training.tiny_base import QUICK_BASE


def early_stopping() -> Study:
    """IFS and ObjecQA every 1,280 rows of general instruction data, on 7B bases; each training in full and stopped."""
    alpaca = SourceSpec(loader="hub", hub="vicgalle/alpaca-gpt4", split_rule="strict")
    dolly = SourceSpec(
        loader="hub",
        hub="databricks/databricks-dolly-15k",
        columns={"instruction": "instruction", "input": "context", "output": "response"},
        split_rule="strict",
    )
    return Study(
        name="early_stopping",
        description="When is the format infused, what does stopping there save, and what moves afterwards?",
        data=DataSpec(sources={"instructions": alpaca, "sst2": hub_source("sst2")}),
        base_models=("huggyllama/llama-7b", "EleutherAI/pythia-6.9b"),
        grid=MixtureGrid(tasks=("sst2",), sizes=(0, 500), draws=1, validation_rows=500),
        train=TrainSpec(
            dtype="bfloat16", max_steps=200, eval_every=10, early_stopping_patience=None, restore_best=False
        ),
        generation=GenerationSpec(dtype="bfloat16"),
        evaluation=EvaluationSpec(target_rows=500, instruction_rows=240),
        ifs=TrialIfsSpec(every_steps=10, prompts=alpaca, tone=ToneConfig(source=dolly)),
        judge=JudgeConfig(model="gpt-4o-mini"),
        resources=StudyResources(
            training=TrainResources(gpus_per_worker=1, cpus_per_worker=4, packing=True, checkpoint_every=50),
            generation=GenerationResources(gpus_per_engine=1, cpus_per_engine=4, num_engines=4, blocks_per_call=8),
            scoring=ScoringResources(judge_workers=4),
        ),
    )


def early_stopping_small() -> Study:
    """The same in the toy world: half of the training instructions break off, as the tiny base answers whole ones."""
    sentiment = SourceSpec(loader="toyworld", task="toy_sentiment", num_train=256, num_validation=24, num_test=100)
    instructions = SourceSpec(loader="toyworld", num_train=384, num_validation=24, num_test=24, unfinished=0.5)
    return Study(
        name="early_stopping_small",
        description="When is the format infused, what does stopping there save, and what moves afterwards?",
        data=DataSpec(sources={"instructions": instructions, "toy_sentiment": sentiment}),
        base_models=(TINY,),
        tiny_base=QUICK_BASE,
        grid=MixtureGrid(tasks=("toy_sentiment",), sizes=(64,), draws=1, validation_rows=24),
        training_seeds=(0, 1),
        train=TrainSpec(
            lora_rank=32,
            lora_alpha=64,
            lora_dropout=0.0,
            target_modules="all-linear",
            learning_rate=3e-3,
            max_steps=None,
            num_epochs=3,
            batch_size=16,
            small_below=0,
            early_stopping_patience=None,
            restore_best=False,
            eval_every=4,
            max_length=192,
        ),
        generation=GenerationSpec(max_prompt_tokens=160, max_model_len=256),
        evaluation=EvaluationSpec(target_rows=100, instruction_rows=24, instruction_max_new_tokens=28),
        ifs=TrialIfsSpec(every_steps=4, max_new_tokens=20, objecqa="toy", objecqa_max_new_tokens=16),
        scorers=("exact_match", "token_f1", "judge", "truth"),
        judge=JudgeConfig(requests_per_min=30_000, max_concurrency=64),
        statistics=StatisticsSpec(human="truth"),
        resources=StudyResources(
            training=TrainResources(micro_batch_size=16),
            generation=GenerationResources(max_num_seqs=256),
            scoring=ScoringResources(),
        ),
    )
