"""Randomly initialised encoders and reward models with a word tokenizer, as Hugging Face folders, for tests."""

from __future__ import annotations

from pathlib import Path

TEXT = """a the film book play is was very not good bad long short and of in on with it i you positive negative
summary says what why who one two three four five . , ! ?"""
WORDS = TEXT.split()


def save_tiny_encoder(folder: Path, *, layers: int = 3, seed: int = 7, labels: int | None = None) -> Path:
    """A random BERT of width 32; with `labels`, a sequence classifier of so many outputs."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=labels or 2,
        initializer_range=0.3,  # wide, so that texts differ
    )
    torch.manual_seed(seed)
    model = BertModel(config) if labels is None else BertForSequenceClassification(config)
    model.save_pretrained(folder, safe_serialization=True)
    return folder
