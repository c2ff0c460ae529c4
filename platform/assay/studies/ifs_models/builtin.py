"""The builtin IFS studies, as Python values.

`ifs_models` compares public base models with their instruction-tuned versions. `ifs_models_small` does the same where
there is no hub and no GPU: a tiny base that has read no answered question, and what a short tuning makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.generation.spec import GenerationResources, GenerationSpec
from assay.studies.builtin.parts import ALPACA, TOY_GENERATION, TOY_NEW_TOKENS, TOY_RESOURCES, TOY_TRAIN
from assay.studies.ifs_models.spec import IfsModel, IfsStudy
from assay.studies.resources import StudyResources
from assay.studies.spec import TINY
from assay.tasks.datasets.sources import toy_source
from assay.tone.artifact import TOY_TONE
from assay.training.tiny_base.spec import PLAIN_BASE

PAIRS = {
    "llama-7b": ("huggyllama/llama-7b", "lmsys/vicuna-7b-v1.5"),
    "falcon-7b": ("tiiuae/falcon-7b", "tiiuae/falcon-7b-instruct"),
    "qwen2.5-0.5b": ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B-Instruct"),
}
"""Base and instruction-tuned version; the paper measures the first base at .34 without a wrapper."""


def ifs_models() -> IfsStudy:
    """Three bases and their instruction-tuned versions under prompts A, B and C."""
    models = [
        IfsModel(name=f"{name} {kind}", model=model)
        for name, pair in PAIRS.items()
        for kind, model in zip(("base", "tuned"), pair, strict=True)
    ]
    return IfsStudy(
        name="ifs_models",
        description="Instruction Following Score of base models and their instruction-tuned versions.",
        models=tuple(models),
        dialogues=ALPACA,
        generation=GenerationSpec(dtype="bfloat16"),
        resources=StudyResources(generation=GenerationResources(gpus_per_engine=1, cpus_per_engine=4)),
    )


def ifs_models_small() -> IfsStudy:
    """A tiny base against its instruction-tuned version: minutes on two cores, nothing from outside."""
    return IfsStudy(
        name="ifs_models_small",
        description="Instruction Following Score of a tiny base and of what a short tuning makes of it.",
        models=(IfsModel(name="base", model=TINY), IfsModel(name="tuned", model=TINY, tuned=True)),
        tiny_base=PLAIN_BASE,
        dialogues=toy_source(seed=1, train=600, validation=24, test=480),
        tone=TOY_TONE,
        prompts=("B", "C", "assay"),
        max_new_tokens=TOY_NEW_TOKENS,
        generation=TOY_GENERATION,
        train=TOY_TRAIN,
        resources=TOY_RESOURCES,
    )


IFS_STUDIES: Mapping[str, Callable[[], IfsStudy]] = {"ifs_models": ifs_models, "ifs_models_small": ifs_models_small}
"""Builtin IFS studies by name."""
