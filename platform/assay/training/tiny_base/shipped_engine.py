"""Makes the model that comes with the package as "toy": a tiny base that has read the toy world, in half precision.

It is shipped because the same pre-training ends in other weights on another kind of processor, and with them the
quickstart's figures would move.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from assay.hooks import Progress
from assay.tasks.toyworld.world import pretraining_documents
from assay.training.tiny_base.spec import QUICK_BASE, TinyBaseSpec
from assay.training.tiny_base.tiny_base_engine import BaseReport, build_tiny_base


def make_toy_base(out_dir: Path, progress: Progress | None = None, *, spec: TinyBaseSpec = QUICK_BASE) -> BaseReport:
    """Pre-trains the base and writes its folder with weights in float16.

    Args:
        out_dir: made where it does not exist.
        progress: told of steps.
        spec: of flavour "toy".
    """
    report = build_tiny_base(spec, out_dir, pretraining_documents(spec.num_documents, spec.seed), progress)
    LlamaForCausalLM.from_pretrained(out_dir, dtype=torch.float16).save_pretrained(out_dir)
    return report
