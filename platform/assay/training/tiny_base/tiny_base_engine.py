"""Builds a tiny base model: tokenizer, pre-training, and a Hugging Face folder that transformers and vLLM load.

Same spec, documents, torch and number of threads: the same weights, bit for bit.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from assay.errors import InputError
from assay.hooks import Progress
from assay.tasks.toyworld.world import PretrainingDocument, lexicon
from assay.training.tiny_base.spec import TinyBaseSpec

STAGE = "base"
PAD, UNKNOWN, END = "<pad>", "<unk>", "</s>"
REPORT_EVERY = 50
"""Steps between calls of the progress hook."""


@dataclass(frozen=True)
class BaseReport:
    """What came out of a build."""

    num_parameters: int
    num_tokens: int
    """Tokens read, padding not counted."""
    first_loss: float
    """Mean weighted loss in nats over the first report interval."""
    last_loss: float
    """The same over the last one."""


def build_tiny_base(
    spec: TinyBaseSpec,
    out_dir: Path,
    documents: Sequence[PretrainingDocument],
    progress: Progress | None = None,
    *,
    num_threads: int = 2,
) -> BaseReport:
    """Writes config, safetensors and tokenizer (no chat template) into `out_dir`.

    Args:
        spec: what to build.
        out_dir: made where it does not exist.
        documents: those of the toy world are read in this order, as often as the steps ask; "text" packs them.
        progress: told of steps under the stage name "base".
        num_threads: of torch, set back afterwards.

    Raises:
        InputError: there are no documents, or too few for one block.
    """
    if not documents:
        raise InputError("tiny base: saw no documents; expected text to read; give a dataset with train rows")
    texts = [document.text for document in documents]
    if spec.reads_toyworld:
        tokenizer = word_tokenizer([*lexicon(), *texts])
    else:
        tokenizer = bpe_tokenizer(texts, spec.vocabulary_size)
    rows = _encode(documents, tokenizer, spec)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            model = LlamaForCausalLM(_llama_config(spec, tokenizer))
            batches = _bucketed(rows, spec) if spec.reads_toyworld else _packed(rows, spec)
            num_tokens, first_loss, last_loss = _pretrain(model, batches, spec, progress)
    finally:
        torch.set_num_threads(threads_before)
    out_dir.mkdir(parents=True, exist_ok=True)
    with _quiet():
        model.save_pretrained(out_dir, safe_serialization=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN if spec.reads_toyworld else None,
        model_max_length=spec.max_positions,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(out_dir)
    return BaseReport(sum(p.numel() for p in model.parameters()), num_tokens, first_loss, last_loss)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what saving a model prints: a bar of shards, and DeepSpeed's word on the accelerator it found."""
    showed_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        if showed_bars:
            transformers_logging.enable_progress_bar()


def word_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token per word, per run of punctuation and per prompt marker; white space is not kept.

    Decoding puts spaces back the way English and JSON have them, so that text which is set like that survives
    encoding and decoding.
    """
    pattern = Regex(r"### (?:Instruction|Input|Response):|\w+|[^\w\s]+")
    split = pre_tokenizers.Split(pattern, "removed", invert=True)
    words = {word for text in texts for word, _ in split.pre_tokenize_str(text)}
    vocabulary = {token: rank for rank, token in enumerate((PAD, UNKNOWN, END, *sorted(words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="\0", cleanup=False),  # a space before every token but the first
            decoders.Fuse(),
            decoders.Replace(Regex(r" (?=[,.:;?!)\]}])"), ""),
            decoders.Replace(Regex(r' (?="[,:\])])'), ""),
            decoders.Replace(Regex(r'(?<=["(\[{]) '), ""),
            decoders.Replace(Regex(r" (?=\()"), ""),
        ]
    )
    return tokenizer


def bpe_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """Byte-level BPE trained on these texts: every text can be encoded and comes back unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True)
class _Row:
    """A tokenised document, its end mark included."""

    ids: list[int]
    weights: list[float]


def _encode(documents: Sequence[PretrainingDocument], tokenizer: Tokenizer, spec: TinyBaseSpec) -> list[_Row]:
    end = tokenizer.token_to_id(END)
    rows = []
    for document, encoding in zip(documents, tokenizer.encode_batch([d.text for d in documents]), strict=True):
        weights = [_weight(start, document.answers, spec.other_weight) for start, _ in encoding.offsets]
        # the end mark belongs to the answer that it ends
        last = weights[-1] if weights else spec.other_weight
        ids = [*encoding.ids, end]
        weights = [*weights, last]
        if spec.reads_toyworld:
            ids, weights = ids[: spec.max_positions], weights[: spec.max_positions]
        rows.append(_Row(ids, weights))
    return rows


def _weight(start: int, answers: Sequence[tuple[int, int]], other: float) -> float:
    return 1.0 if any(first <= start < last for first, last in answers) else other


_Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids and loss weights, both (rows, tokens); padding has weight 0."""

BUCKETS_PER_WINDOW = 50
"""Batches whose documents are sorted by length together: short waits for the curriculum, little padding."""


def _bucketed(rows: Sequence[_Row], spec: TinyBaseSpec) -> Iterator[_Batch]:
    """Documents in order, sorted by length within windows; the windows' batches are shuffled."""
    rng = random.Random(spec.seed)
    window = spec.batch_size * BUCKETS_PER_WINDOW
    while True:
        for start in range(0, len(rows), window):
            chosen = sorted(rows[start : start + window], key=lambda row: len(row.ids))
            batches = [chosen[i : i + spec.batch_size] for i in range(0, len(chosen), spec.batch_size)]
            rng.shuffle(batches)
            for batch in batches:
                length = max(len(row.ids) for row in batch)
                # right padding of a causal model changes nothing to its left: no attention mask needed
                yield (
                    torch.tensor([row.ids + [0] * (length - len(row.ids)) for row in batch]),
                    torch.tensor([row.weights + [0.0] * (length - len(row.ids)) for row in batch]),
                )


def _packed(rows: Sequence[_Row], spec: TinyBaseSpec) -> Iterator[_Batch]:
    """Documents one after the other, cut into blocks, blocks shuffled anew in every round."""
    ids = torch.tensor([token for row in rows for token in row.ids])
    weights = torch.tensor([weight for row in rows for weight in row.weights])
    num_blocks = len(ids) // spec.block_length
    if num_blocks == 0:
        raise InputError(
            f"tiny base: saw {len(ids)} tokens of text; expected at least one block of {spec.block_length}; "
            "give more text or lower block_length"
        )
    ids = ids[: num_blocks * spec.block_length].view(num_blocks, -1)
    weights = weights[: num_blocks * spec.block_length].view(num_blocks, -1)
    generator = torch.Generator().manual_seed(spec.seed)
    while True:
        order = torch.randperm(num_blocks, generator=generator)
        for start in range(0, num_blocks, spec.batch_size):
            chosen = order[start : start + spec.batch_size]
            yield ids[chosen], weights[chosen]


def _llama_config(spec: TinyBaseSpec, tokenizer: Tokenizer) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=spec.hidden_size,
        intermediate_size=spec.feed_forward_size,
        num_hidden_layers=spec.num_layers,
        num_attention_heads=spec.num_heads,
        num_key_value_heads=spec.num_heads,
        max_position_embeddings=spec.max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
        dtype="float32",
    )


def _pretrain(
    model: LlamaForCausalLM, batches: Iterator[_Batch], spec: TinyBaseSpec, progress: Progress | None
) -> tuple[int, float, float]:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=spec.learning_rate, betas=(0.9, spec.beta2), weight_decay=spec.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, spec))
    if progress:
        progress.start(STAGE, spec.num_steps, unit="steps")
    model.train()
    num_tokens, means, interval = 0, [], []
    for step in range(1, spec.num_steps + 1):
        ids, weights = next(batches)
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        kept = weights[:, 1:] > 0  # padding needs no logits
        logits = model.lm_head(hidden[kept])
        losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][kept], reduction="none")
        weight = weights[:, 1:][kept]
        loss = (losses * weight).sum() / weight.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        num_tokens += int(kept.sum())
        interval.append(loss.detach())
        if step % REPORT_EVERY == 0 or step == spec.num_steps:
            means.append(float(torch.stack(interval).mean()))
            if progress:
                progress.advance(STAGE, len(interval), loss=round(means[-1], 3))
            interval = []
    if progress:
        progress.finish(STAGE, f"loss {means[0]:.2f} to {means[-1]:.2f}")
    return num_tokens, means[0], means[-1]


def _rate(step: int, spec: TinyBaseSpec) -> float:
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    done = (step - spec.warmup_steps) / max(1, spec.num_steps - spec.warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))
