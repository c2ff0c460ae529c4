"""Evaluations inside a trial end an answer where generation does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assay.ifs.trial_spec import TOY_PROMPTS, TrialIfsSpec, evaluation_keys
from assay.tasks.templates import PromptSpec
from assay.tasks.tokens.stops import stop_ids
from assay.training.spec import TrainSpec
from support.marked_tokenizers import marked_tokenizer


@pytest.mark.parametrize("rules", ["strict", "compat"])
@pytest.mark.parametrize("style", ["chat", "alpaca"])
def test_a_trial_stops_where_generation_stops(style: Any, rules: Any) -> None:
    """The end of a turn that is not the tokenizer's end mark did not end an answer inside trials."""
    from assay.training.engine.trial_hooks_engine import TrialHooks

    tokenizer = marked_tokenizer("phi, unigram")  # ends texts with <|endoftext|> and turns with <|end|>
    prompt = PromptSpec(style=style, rules=rules)
    model = SimpleNamespace(config=SimpleNamespace(eos_token_id=tokenizer.eos_token_id))
    base: Any = SimpleNamespace(tokenizer=tokenizer, model=model)
    hooks = TrialHooks([], None, base, None, TrainSpec(prompt=prompt))  # type: ignore[arg-type]
    assert hooks._stops == stop_ids(tokenizer, [tokenizer.eos_token_id], prompt)
    ends_turns = tokenizer.convert_tokens_to_ids("<|end|>") in hooks._stops
    assert ends_turns == (style == "chat" and rules == "strict")


def test_keys_of_evaluations_changed_where_their_answers_did() -> None:
    spec = TrialIfsSpec(every_steps=2, prompts=TOY_PROMPTS)
    before = evaluation_keys(spec, None)
    assert before == evaluation_keys(spec, None, PromptSpec())
    assert before == evaluation_keys(spec, None, PromptSpec(style="chat", rules="compat"))
    assert before != evaluation_keys(spec, None, PromptSpec(style="chat"))
