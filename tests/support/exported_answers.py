"""Answers of an exported adapter as somebody without Assay gets them: by PEFT with transformers, and by plain vLLM.

Each in a process of its own: vLLM changes transformers' classes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

TokenIds = list[list[int]]


def both_ways(folder: Path, prompts: Sequence[str], max_new_tokens: int) -> tuple[TokenIds, TokenIds, list[str]]:
    """Greedy token ids by PEFT and by vLLM in float32, end marks included, and the texts."""
    found = []
    for answer in (_by_peft, _by_vllm):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
            found.append(own.submit(answer, str(folder), list(prompts), max_new_tokens).result())
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return *found, tokenizer.batch_decode(found[0], skip_special_tokens=True)


def _by_peft(folder: str, prompts: list[str], max_new_tokens: int) -> TokenIds:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for prompt in prompts:
        ids = _prompt_ids(tokenizer, prompt)
        made = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        answers.append(made[0, len(ids) :].tolist())
    return answers


def _by_vllm(folder: str, prompts: list[str], max_new_tokens: int) -> TokenIds:
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    import vllm
    from transformers import AutoTokenizer
    from vllm.lora.request import LoRARequest

    config = json.loads((Path(folder) / "adapter_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    engine = vllm.LLM(
        model=config["base_model_name_or_path"],
        dtype="float32",
        enable_lora=True,
        max_loras=1,
        max_lora_rank=max(8, config["r"]),
        enforce_eager=True,
        generation_config="vllm",
        kv_cache_memory_bytes=1 << 28,
        max_model_len=256,
    )
    outputs = engine.generate(
        [{"prompt_token_ids": _prompt_ids(tokenizer, prompt)} for prompt in prompts],
        vllm.SamplingParams(temperature=0, max_tokens=max_new_tokens, stop_token_ids=[tokenizer.eos_token_id]),
        lora_request=LoRARequest("winner", 1, folder),
        use_tqdm=False,
    )
    return [list(output.outputs[0].token_ids) for output in outputs]


def _prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """As the tokenizer reads a prompt, begin mark in front; some add an end mark, which a prompt has none of."""
    ids = list(tokenizer(prompt)["input_ids"])
    return ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
