"""Tone classifiers on an encoder: a tiny BERT made here, frozen and fine-tuned, kept as safetensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.errors import ConfigError, InputError
from assay.records import TRAIN
from assay.tasks.toyworld.world import toy_instruction_examples
from assay.tone.artifact import tone_key
from assay.tone.model import ToneSpec
from assay.tone.texts import Dialogue, dialogues_of
from assay.tone.training import load_tone_model, train_tone_model


@pytest.fixture(scope="module")
def toy() -> list[Dialogue]:
    return dialogues_of(toy_instruction_examples({TRAIN: 360}, seed=3))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, toy: list[Dialogue]) -> Path:
    """A random two-layer BERT with a word tokenizer of the toy world."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = sorted({w for d in toy for w in f"{d.question} {d.response}".lower().replace(".", " ").split()})
    vocabulary = {token: place for place, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=160,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["embedding", "encoder"])
def test_an_encoder_learns_the_tone_and_is_kept_with_its_classifier(
    kind: str, encoder: Path, toy: list[Dialogue], tmp_path: Path
) -> None:
    spec = ToneSpec(kind=kind, encoder=str(encoder), max_words=40, learning_rate=1e-3, num_epochs=3)  # type: ignore[arg-type]
    model = train_tone_model(toy, spec)
    least = 0.9 if kind == "encoder" else 0.75  # a random encoder that is frozen knows little
    assert model.sensitivity.rate > least and model.specificity.rate > least
    model.save(tmp_path)
    kept = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kept <= {".json", ".safetensors", ".txt", ".jinja"}
    again = load_tone_model(tmp_path)
    texts = [toy[0].response, toy[0].instruction, ""]
    assert np.allclose(again.probabilities(texts), model.probabilities(texts), atol=1e-6)
    assert again.probabilities(texts)[2] == 0.0
    assert (again.sensitivity, again.specificity) == (model.sensitivity, model.specificity)


def test_the_order_of_texts_changes_nothing_beyond_rounding(encoder: Path, toy: list[Dialogue]) -> None:
    model = train_tone_model(toy, ToneSpec(kind="embedding", encoder=str(encoder)))
    texts = [dialogue.response for dialogue in toy[:150]]
    assert np.allclose(model.probabilities(texts[::-1])[::-1], model.probabilities(texts), atol=1e-5)


def test_a_moved_encoder_keeps_its_key_and_a_changed_one_does_not(encoder: Path, tmp_path: Path) -> None:
    import shutil

    moved = Path(shutil.copytree(encoder, tmp_path / "moved"))
    keys = [tone_key(ToneSpec(kind="embedding", encoder=str(folder)), "d") for folder in (encoder, moved)]
    assert keys[0] == keys[1]
    (moved / "config.json").write_text((moved / "config.json").read_text() + "\n")
    assert tone_key(ToneSpec(kind="embedding", encoder=str(moved)), "d") != keys[0]


def test_a_folder_that_is_no_encoder_is_refused(toy: list[Dialogue], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"saw no config\.json"):
        train_tone_model(toy, ToneSpec(kind="encoder", encoder=str(tmp_path)))
    with pytest.raises(InputError, match=r"no config\.json"):
        tone_key(ToneSpec(kind="encoder", encoder=str(tmp_path)), "d")
