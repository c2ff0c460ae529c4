"""Reward models: any sequence classifier rates an answer to a prompt.

`reward` is the raw number r(prompt, prediction), without ends. `reward_soft` is sigmoid(r(prediction) - r(reference)):
1/2 where prediction and reference are rewarded alike; of several references, in strict mode, their mean reward. A
classifier with one output gives its logit, one with two the difference of the second and the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from assay.errors import ConfigError, InputError
from assay.records import Outcome, Rating
from assay.scoring.jobs import judge_instance
from assay.scoring.protocol import ScoreRequest, ScorerSpec
from assay.scoring.scorers.embedding_engine import Kept, distinct, in_blocks, length_batches
from assay.scoring.scorers.references import MAX_CHARS, NO_REFERENCE, TOO_LONG, references_of

MAX_PADDED_TOKENS = 8192
MAX_TOKENS = 4096
"""Tokens of prompt and answer where the model states no limit."""
TEMPLATES = ("auto", "chat", "pair")
"""How prompt and answer are shown: as two turns of the model's chat template, or as a pair of texts; "auto" takes the
template where there is one."""


class RewardScorer:
    """Raw (`reward`) or soft (`reward_soft`) reward of each prediction."""

    def __init__(self, spec: ScorerSpec) -> None:
        """A scorer of a resolved spec; parameters `template` and `dtype`.

        Raises:
            ConfigError: a parameter that is neither of its values.
        """
        if spec.params.get("template") not in TEMPLATES:
            raise ConfigError(
                f"scorer {spec.name!r}: saw template {spec.params.get('template')!r}; expected one of "
                f"{', '.join(TEMPLATES)}"
            )
        if spec.params.get("dtype") not in ("float32", "bfloat16"):
            raise ConfigError(
                f"scorer {spec.name!r}: saw dtype {spec.params.get('dtype')!r}; expected float32 or bfloat16"
            )
        self.spec = spec
        self._is_soft = spec.name == "reward_soft"

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        return in_blocks(self._block, batch)

    def _block(self, block: Sequence[ScoreRequest]) -> list[Outcome]:
        params = self.spec.params
        model = load_reward_model(self.spec.path, str(params["template"]), str(params["dtype"]))
        prompts = [judge_instance(request.example, "").prompt for request in block]
        golds = [_golds(request, self.spec.mode) if self._is_soft else () for request in block]
        is_usable = [
            len(request.prediction) <= MAX_CHARS and (not self._is_soft or bool(gold))
            for request, gold in zip(block, golds, strict=True)
        ]
        rows = list(zip(block, prompts, golds, is_usable, strict=True))
        own = model.rewards(distinct((prompt, request.prediction) for request, prompt, _, usable in rows if usable))
        reference = model.rewards(
            distinct((prompt, text) for _, prompt, gold, usable in rows if usable for text in gold)
        )
        outcomes: list[Outcome] = []
        for request, prompt, gold, usable in rows:
            if not usable:
                outcomes.append(TOO_LONG if len(request.prediction) > MAX_CHARS else NO_REFERENCE)
                continue
            raw = own[prompt, request.prediction]
            if self._is_soft:
                mean = sum(reference[prompt, text] for text in gold) / len(gold)
                outcomes.append(Rating(_sigmoid(raw - mean)))
            else:
                outcomes.append(Rating(raw))
        return outcomes


class RewardModel:
    """A sequence classifier with the way it wants to be shown a prompt and an answer."""

    def __init__(self, path: str, template: str, dtype: str) -> None:
        """Load it.

        Raises:
            InputError: the folder holds no sequence classifier, or one whose outputs are no reward.
        """
        transformers_logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                path, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"reward model {path}: saw {reason}; expected a sequence classifier") from None
        if missing := sorted(loading["missing_keys"]):
            raise InputError(
                f"reward model {path}: saw no weights for {missing[0]}; expected a trained sequence classifier, not a "
                "bare base model; name another folder"
            )
        if model.config.num_labels not in (1, 2):
            raise InputError(
                f"reward model {path}: saw {model.config.num_labels} outputs; expected 1 (a reward) or 2 "
                "(worse, better)"
            )
        if template == "chat" and not self.tokenizer.chat_template:
            raise InputError(f"reward model {path}: saw no chat template; expected one; set template=pair")
        self.is_chat = template != "pair" and bool(self.tokenizer.chat_template)
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if model.config.pad_token_id is None:
            model.config.pad_token_id = self.tokenizer.pad_token_id  # decoders find the last token by it
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.eval().to(self.device)
        limit = getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS
        limit -= 2 if model.config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
        self.max_tokens = min(limit, self.tokenizer.model_max_length, MAX_TOKENS)
        self._kept: Kept[dict[tuple[str, str], float]] = Kept(lambda found: 200 * len(found))

    def rewards(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """Reward of each (prompt, answer)."""
        if not pairs:
            return {}
        return self._kept.get([text for pair in pairs for text in pair], lambda _: self._rewards(pairs))

    def _rewards(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
        rows = [self._encode(prompt, answer) for prompt, answer in pairs]
        found: dict[tuple[str, str], float] = {}
        for places in length_batches([len(row["input_ids"]) for row in rows], MAX_PADDED_TOKENS):
            chosen = [rows[place] for place in places]
            inputs = {name: self._padded(name, chosen) for name in chosen[0]}
            with torch.inference_mode():
                logits = self.model(**inputs).logits.float()
            values = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            for place, value in zip(places, values.tolist(), strict=True):
                found[pairs[place]] = value
        return found

    def _encode(self, prompt: str, answer: str) -> dict[str, list[int]]:
        """Token ids as the model wants them; a long prompt loses its beginning, never the answer its end."""
        if self.is_chat:
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
            text = self.tokenizer.apply_chat_template(turns, tokenize=False)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][-self.max_tokens :]
            return {"input_ids": ids, "attention_mask": [1] * len(ids)}
        found = self.tokenizer(prompt, answer, truncation="longest_first", max_length=self.max_tokens)
        return {name: list(found[name]) for name in found if name in ("input_ids", "attention_mask", "token_type_ids")}

    def _padded(self, name: str, rows: Sequence[dict[str, list[int]]]) -> torch.Tensor:
        fill = self.tokenizer.pad_token_id if name == "input_ids" else 0
        tensors = [torch.tensor(row[name]) for row in rows]
        return pad_sequence(tensors, batch_first=True, padding_value=fill).to(self.device)


@lru_cache(maxsize=1)
def load_reward_model(path: str, template: str, dtype: str) -> RewardModel:
    """The reward model of a folder, loaded once."""
    return RewardModel(path, template, dtype)


def _golds(request: ScoreRequest, mode: str) -> tuple[str, ...]:
    found = references_of(request) if mode == "strict" else (request.example.reference,)
    return tuple(text for text in found if text.strip() and len(text) <= MAX_CHARS)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
