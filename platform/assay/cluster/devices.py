"""What a process is told of the accelerators of its machine, and what its processor can do in bfloat16."""

from __future__ import annotations

import re
from pathlib import Path

BFLOAT16_FLAGS = frozenset({"avx512bw", "avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
"""Any of these, and oneDNN has a kernel for products in bfloat16; without them one number is multiplied at a time (seen
on AVX2 alone: .5 GFLOPS beside 25 in float32)."""
SLOW_BFLOAT16 = (
    "saw bfloat16 on a processor without instructions for it, where products take tens of times as long as in float32"
)
"""What a refusal says that it saw."""
CPU_FACTS = Path("/proc/cpuinfo")


def device_environment(gpus: float) -> dict[str, str]:
    """Environment of a process that was given this share of GPUs; it must stand before its engines are imported.

    Ray leaves all GPUs visible to an actor that asked for none, and DeepSpeed goes by what it sees, not by the device
    that a training asked for.
    """
    if gpus > 0:
        return {"DS_ACCELERATOR": "cuda"}
    return {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def multiplies_bfloat16(facts: str) -> bool:
    """Whether a Linux machine's processor has products in bfloat16 that are worth the name.

    Args:
        facts: text of `CPU_FACTS`; where it lists no flags (another system), the answer is yes.
    """
    listed = re.search(r"^(?:flags|Features)\s*:(.*)$", facts, re.MULTILINE)
    return listed is None or not BFLOAT16_FLAGS.isdisjoint(listed[1].split())


def here_bfloat16_is_slow(dtype: str, gpus: float) -> bool:
    """Whether a stage of this type of numbers would crawl here: bfloat16 on a processor that cannot multiply it."""
    if dtype != "bfloat16" or gpus > 0 or not CPU_FACTS.is_file():
        return False
    return not multiplies_bfloat16(CPU_FACTS.read_text(encoding="utf-8", errors="replace"))
