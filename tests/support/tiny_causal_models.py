"""Randomly initialised models of a few architectures with a small tokenizer, as Hugging Face folders, for tests."""

from __future__ import annotations

from pathlib import Path

from assay.records import Example, MixtureRow, to_table
from assay.store import Store

ARCHITECTURES = ("llama", "gpt_neox", "qwen2")


def arithmetic_examples(count: int, *, split: str = "train", first: int = 0) -> list[Example]:
    """Rows with one-number answers and prompts of different lengths."""
    rows = []
    for number in range(first, first + count):
        words = " ".join(["add", "these", "two", "small", "numbers", "for", "me"][: 2 + number % 6])
        rows.append(
            Example(
                example_id=f"{split}-{number:04d}",
                task="toy",
                split=split,
                instruction=f"Please {words}.",
                input=f"{number} and {number % 7}" if number % 3 else "",
                reference=str(number + number % 7),
            )
        )
    return rows


def save_tiny_model(
    folder: Path, architecture: str, *, hidden: int = 64, layers: int = 2, chat: bool = False, vocabulary: int = 384,
    positions: int = 512,
) -> Path:  # fmt: skip
    """A random model of `architecture` (one of ARCHITECTURES) with a byte-pair tokenizer of 384 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<pad>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    texts = ["### Instruction:\n### Input:\n### Response:\nPlease add these two small numbers for me. 12 and 3"] * 4
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")
    if chat:
        fast.chat_template = (
            "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>\n{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}"
        )
    fast.save_pretrained(folder)
    sizes = {
        "vocab_size": max(vocabulary, len(fast)),  # more than the tokenizer has, for benches
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 32,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": positions,
        "bos_token_id": None,
        "eos_token_id": fast.eos_token_id,
        "pad_token_id": fast.pad_token_id,
    }
    if architecture in ("llama", "qwen2"):
        sizes["num_key_value_heads"] = hidden // 32
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **sizes))
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def store_toy_mixture(store: Store, key: str, num_train: int, num_validation: int = 12) -> None:
    """A dataset artifact "toyset" (once) and a mixture artifact that draws from it."""
    if not store.exists("dataset", "toyset"):
        rows = arithmetic_examples(400) + arithmetic_examples(60, split="validation", first=400)
        with store.writing("dataset", "toyset") as writer:
            writer.table("examples.parquet", to_table(rows, Example))
    parts = {"train": [f"train-{i:04d}" for i in range(num_train)]}
    parts["validation"] = [f"validation-{400 + i:04d}" for i in range(num_validation)]
    with store.writing("mixture", key) as writer:
        for name, ids in parts.items():
            rows_of = [MixtureRow(place, "toyset", example_id, "toy") for place, example_id in enumerate(ids)]
            writer.table(f"{name}.parquet", to_table(rows_of, MixtureRow))


def store_varied_mixture(store: Store, key: str, num_rows: int) -> None:
    """Rows of very different lengths, as instruction data has: a dataset "varied" and a mixture of all of it."""
    import random

    draw = random.Random(5)
    words = ["add", "these", "two", "small", "numbers", "for", "me", "please", "and", "write"]
    rows = []
    for number in range(num_rows):
        long = int(min(150, draw.lognormvariate(2.6, 0.9))) + 2
        given = " ".join(draw.choices(words, k=long))
        answer = " ".join(draw.choices(words, k=max(1, long // 4)))
        rows.append(Example(f"train-{number:05d}", "toy", "train", "Please add.", given, answer))
    with store.writing("dataset", "varied") as writer:
        writer.table("examples.parquet", to_table(rows, Example))
    with store.writing("mixture", key) as writer:
        train = [MixtureRow(place, "varied", row.example_id, "toy") for place, row in enumerate(rows)]
        writer.table("train.parquet", to_table(train, MixtureRow))
        writer.table("validation.parquet", to_table([], MixtureRow))
