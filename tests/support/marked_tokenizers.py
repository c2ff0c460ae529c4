"""Ten small tokenizers, trained in the test: four kinds of model with the marks of families of chat models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "Use the tag to close it.",
    "The end of a text is where the user and the system stop.",
    "Be brief, said the assistant: 1 + 2 = 3!",
    "think about im_start, sep, cls and pad < > | / [ ] {}",
    "Größe, naïve café, 漢字かな交じり文, нет",
] * 4


@dataclass(frozen=True)
class Family:
    """Marks of a family of chat models."""

    begin: str | None
    end: str
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()
    """Added tokens that are not marked special."""
    turn: str = "<{role}>{content}{end}\n"
    """One turn of its chat template, as a format of ours."""
    ask: str = "<assistant>"


FAMILIES = {
    "chatml": Family(
        None,
        "<|im_end|>",
        ("<|im_start|>", "<|endoftext|>"),
        ("<think>", "</think>", "<tool_call>"),
        "<|im_start|>{role}\n{content}<|im_end|>\n",
        "<|im_start|>assistant\n",
    ),
    "llama3": Family(
        "<|begin_of_text|>",
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>", "<|python_tag|>"),
        (),
        "<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "llama2": Family("<s>", "</s>", ("<unk>",), ("[INST]", "[/INST]"), "[INST] {content} [/INST]</s>", "[INST]"),
    "gemma": Family(
        "<bos>",
        "<eos>",
        ("<start_of_turn>", "<end_of_turn>", "<pad>"),
        ("<table>", "\n\n"),
        "<start_of_turn>{role}\n{content}<end_of_turn>\n",
        "<start_of_turn>model\n",
    ),
    "phi": Family(
        "<s>",
        "<|endoftext|>",
        ("<|user|>", "<|assistant|>", "<|end|>", "<|system|>"),
        ("   ",),
        "<|{role}|>\n{content}<|end|>\n",
        "<|assistant|>\n",
    ),
    "glm": Family(
        "[gMASK]",
        "<|endoftext|>",
        ("<sop>", "<|user|>", "<|observation|>"),
        (),
        "<|{role}|>\n{content}",
        "<|assistant|>",
    ),
    "deepseek": Family(
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        ("<｜User｜>", "<｜Assistant｜>"),
        ("<think>", "</think>"),
        "<｜User｜>{content}<｜end▁of▁sentence｜>",
        "<｜Assistant｜><think>\n",
    ),
    "bert": Family("[CLS]", "[SEP]", ("[PAD]", "[MASK]", "[UNK]"), (), "[CLS]{content}[SEP]", "[CLS]"),
}

TOKENIZERS = {
    "chatml, bytes": ("chatml", "bytes"),
    "llama3, bytes": ("llama3", "bytes"),
    "deepseek, bytes": ("deepseek", "bytes"),
    "llama2, pieces with byte fallback": ("llama2", "pieces"),
    "gemma, pieces with byte fallback": ("gemma", "pieces"),
    "phi, unigram": ("phi", "unigram"),
    "glm, unigram with NFKC": ("glm", "unigram nfkc"),
    "bert, word pieces": ("bert", "word pieces"),
    "llama2, words": ("llama2", "words"),
    "chatml, unigram with NFKC": ("chatml", "unigram nfkc"),
}


def marked_tokenizer(name: str) -> Any:
    """One of TOKENIZERS, with a chat template of its family."""
    family_name, kind = TOKENIZERS[name]
    family = FAMILIES[family_name]
    special = [mark for mark in (family.begin, family.end, *family.special) if mark]
    unknown = {"llama2": "<unk>", "bert": "[UNK]"}.get(family_name, "<unk>")
    trained = _trained(kind, list(dict.fromkeys([*special, *([] if kind == "bytes" else [unknown])])), unknown)
    trained.add_tokens([AddedToken(text, normalized=kind.endswith("nfkc")) for text in family.plain])
    if family.begin:
        place = trained.token_to_id(family.begin)
        trained.post_processor = processors.TemplateProcessing(
            single=f"{family.begin} $A", special_tokens=[(family.begin, place)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        bos_token=family.begin,
        eos_token=family.end,
        unk_token=None if kind == "bytes" else unknown,
        additional_special_tokens=[mark for mark in special if mark not in (family.begin, family.end, unknown)],
    )
    tokenizer.chat_template = _template(family)
    return tokenizer


def marks_of(name: str) -> tuple[str, ...]:
    """All marks of a tokenizer's family that are more than white space."""
    family = FAMILIES[TOKENIZERS[name][0]]
    found = (family.begin, family.end, *family.special, *family.plain)
    return tuple(mark for mark in found if mark and mark.strip())


def _template(family: Family) -> str:
    turn = family.turn.replace("\n", "\\n")
    for name, value in (("role", "m.role"), ("content", "m.content")):
        turn = turn.replace("{" + name + "}", f"' + {value} + '")
    turn = turn.replace("{end}", family.end)
    ask = family.ask.replace("\n", "\\n")
    begin = f"{{{{ '{family.begin}' }}}}" if family.begin else ""
    return (
        begin + "{% for m in messages %}{{ '" + turn + "' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '" + ask + "' }}{% endif %}"
    )


def _trained(kind: str, special: Sequence[str], unknown: str) -> Tokenizer:
    common: dict[str, Any] = {"special_tokens": list(special), "show_progress": False}
    if kind == "bytes":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, **common)
    elif kind == "pieces":
        made = Tokenizer(models.BPE(unk_token=unknown, byte_fallback=True, fuse_unk=True))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        names = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=500, **{**common, "special_tokens": [*special, *names]})
        made.train_from_iterator(CORPUS, trainer)
        return _without_special(made, set(names))
    elif kind.startswith("unigram"):
        made = Tokenizer(models.Unigram())
        if kind.endswith("nfkc"):
            made.normalizer = normalizers.NFKC()
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=200, unk_token=unknown, **common)
    elif kind == "word pieces":
        made = Tokenizer(models.WordPiece(unk_token=unknown))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=200, **common)
    else:
        made = Tokenizer(models.WordLevel(unk_token=unknown))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(vocab_size=200, **common)
    made.train_from_iterator(CORPUS, trainer)
    return made


def _without_special(made: Tokenizer, names: set[str]) -> Tokenizer:
    """Byte pieces as real tokenizers have them: in the vocabulary, no added tokens."""
    data = json.loads(made.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] not in names]
    return Tokenizer.from_str(json.dumps(data))
