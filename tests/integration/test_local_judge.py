"""vLLM in this process as a judge: several replies per request, and their log probabilities."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from assay.cluster import devices
from assay.errors import ConfigError
from assay.llm.local_model import LocalModel
from assay.llm.requests import ChatRequest, Message, Sampling
from support.tiny_causal_models import save_tiny_model

pytestmark = pytest.mark.slow


def test_bfloat16_on_a_processor_without_it_is_refused_before_the_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.llm.transports.vllm_chat_engine import VllmChat

    (tmp_path / "cpuinfo").write_text("flags\t: fpu sse avx avx2 fma\n", encoding="utf-8")
    monkeypatch.setattr(devices, "CPU_FACTS", tmp_path / "cpuinfo")
    with pytest.raises(ConfigError, match=r"judge\.local\.dtype: saw bfloat16 .*--dtype auto"):
        VllmChat(str(tmp_path / "no-such-model"), LocalModel(dtype="bfloat16"))


def test_one_request_brings_several_replies_and_their_log_probabilities(tmp_path: Path) -> None:
    from assay.llm.transports.vllm_chat_engine import VllmChat

    chat = VllmChat(str(save_tiny_model(tmp_path / "tiny", "llama", chat=True)), LocalModel())
    sampling = {
        "sampled": Sampling(temperature=1.0, n=4, max_tokens=6, logprobs=True, top_logprobs=5),
        "greedy": Sampling(temperature=0.0, n=3, max_tokens=6),
        "plain": Sampling(max_tokens=6),
    }
    question = (Message("user", "Rate it."),)
    sampled, greedy, plain = chat([ChatRequest("tiny", question, one) for one in sampling.values()])

    assert len(set(sampled.texts)) > 1 and len(sampled.texts) == 4 and sampled.text == sampled.texts[0]
    assert sampled.completion_tokens > plain.completion_tokens
    tokens = sampled.logprobs["content"]
    assert 1 <= len(tokens) <= 6
    for token in tokens:
        alternatives = token["top_logprobs"]
        assert 5 <= len(alternatives) <= 6, "the token itself beside the five likeliest"
        assert sum(math.exp(entry["logprob"]) for entry in alternatives) <= 1 + 1e-4
        assert {"token": token["token"], "logprob": token["logprob"]} in alternatives

    assert greedy.texts == (plain.text,) * 3 and greedy.logprobs is None
    assert plain.texts in ((), (plain.text,))
