"""What every vLLM engine of ours is started with on a CPU."""

from __future__ import annotations

import os
from typing import Any

BLOCK_TOKENS = 32
"""Tokens of a block of the key-value cache: the fewest with which vLLM's attention on CPUs is at its fastest.

Prompts are computed once for the whole blocks that they begin with alike. An instruct model's system text with a
task's words is shorter than vLLM's own 128, so nothing was shared: with 35 of 59 tokens alike, 200 prompts of
SmolLM2-135M took 35 s, and 21 to 25 s so.
"""


def cpu_options(kv_cache_gib: float) -> dict[str, Any]:
    """Arguments of `vllm.LLM`: a key-value cache of so many GiB, in small blocks."""
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # whole GiB only; touching each one costs seconds
    return {"kv_cache_memory_bytes": int(kv_cache_gib * 2**30), "block_size": BLOCK_TOKENS}
