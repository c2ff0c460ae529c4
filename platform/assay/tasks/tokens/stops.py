"""Which tokens end an answer: the same for every engine, and for evaluations inside a training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assay.tasks.templates import PromptSpec
from assay.tasks.tokens.prompts import PromptEncoder


def stop_ids(tokenizer: Any, configured: Iterable[int | list[int] | None], spec: PromptSpec | None = None) -> list[int]:
    """Every id that ends an answer, the tokenizer's end mark first.

    Args:
        tokenizer: of the model.
        configured: end marks by the model's config and generation config.
        spec: under a chat template, what ends an assistant's turn ends an answer too.
    """
    found = [tokenizer.eos_token_id, *configured]
    if spec is not None and spec.rules == "strict":
        found.append(PromptEncoder(tokenizer, spec).stop_id)
    flat = [i for item in found for i in (item if isinstance(item, list) else [item]) if i is not None]
    return list(dict.fromkeys(flat))
