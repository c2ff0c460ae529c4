"""Randomly initialised models, adapters and rows for tests and benchmarks: no training, no network, seconds to make."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from assay.records import Example

NUM_WORDS = 240
HEAD = ["<pad>", "<bos>", "<eos>", "<unk>", "#", ":", "Instruction", "Input", "Response", "###"]
LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
NEOX_LINEAR = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
ARCHITECTURES = ("llama", "qwen2", "gpt_neox")


def make_tokenizer(**special: Any) -> Any:
    """A word-level tokenizer that puts <bos> in front, as Llama's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*HEAD, *(f"w{i}" for i in range(NUM_WORDS))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", words.index("<bos>"))]
    )
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>", **special}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def make_model(folder: Path, architecture: str, *, hidden: int = 64, heads: int = 2, layers: int = 2) -> Path:
    """A model folder with tokenizer; head size is hidden / heads."""
    import torch
    import transformers

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = transformers.AutoConfig.for_model(
        architecture,
        vocab_size=len(HEAD) + NUM_WORDS,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * hidden,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.3,  # wide, so that the likeliest token is far from a tie
        **({} if architecture == "gpt_neox" else {"num_key_value_heads": heads, "tie_word_embeddings": False}),
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapters(base: Path, folders: list[Path], *, rank: int = 8) -> list[Path]:
    """Adapters with random weights of which each changes the base's output; seeded by their place."""
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    targets = NEOX_LINEAR if model.config.model_type == "gpt_neox" else LLAMA_LINEAR
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(targets), task_type="CAUSAL_LM")
    )
    for seed, folder in enumerate(folders):
        torch.manual_seed(100 + seed)
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.2)
        adapted.save_pretrained(folder)
    return folders


def make_examples(count: int, *, seed: int = 0, longest: int = 30) -> list[Example]:
    """Rows of random words, of mixed lengths."""
    draw = random.Random(seed)

    def words(low: int, high: int) -> str:
        return " ".join(f"w{draw.randrange(NUM_WORDS)}" for _ in range(draw.randint(low, high)))

    return [
        Example(f"row{i:04d}", "toy", "test", words(3, 8), words(1, longest) if i % 3 else "", words(1, 2))
        for i in range(count)
    ]
