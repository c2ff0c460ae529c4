"""A judge that runs here: vLLM answers chats in this process, a batch at a time.

A prompt that does not fit fails alone. Greedy requests repeat; on a GPU sampled ones are seeded by their replicate
number, so that they do too. vLLM's CPU build cannot seed single requests; there the engine's own seed draws.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

# before vllm is imported: it reads some of these once
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine lives in this process
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # Ray decides who runs where
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import vllm
from vllm.sampling_params import StructuredOutputsParams

from assay.cluster.devices import SLOW_BFLOAT16, here_bfloat16_is_slow
from assay.errors import ConfigError, ResourceError
from assay.llm.local_model import LocalModel, LocalReply
from assay.llm.requests import ChatRequest
from assay.vllm_cpu import cpu_options

MAX_REPLY_TOKENS = 1024
"""Of requests that name no longest reply."""


class VllmChat:
    """A model behind `LocalChat`."""

    def __init__(self, model: str, settings: LocalModel) -> None:
        """Load the model.

        Args:
            model: folder or hub id, tokenizer included.
            settings: how it is loaded.

        Raises:
            ResourceError: a GPU is asked for and there is none.
            ConfigError: there is no such model, none that vLLM serves, or bfloat16 would take for ever here.
        """
        if settings.gpus and not torch.cuda.is_available():
            raise ResourceError(
                f"judge.local.gpus={settings.gpus}: saw no CUDA device; expected one; set it to 0, or run where "
                "there is one, with the `gpu` extra installed"
            )
        if here_bfloat16_is_slow(settings.numbers, settings.gpus):
            raise ConfigError(
                f"judge.local.dtype: {SLOW_BFLOAT16}; expected float32, or a GPU; set it to auto (--dtype auto)"
            )
        self._on_gpu = settings.gpus > 0
        self._llm = _load(model, settings)

    def __call__(self, requests: Sequence[ChatRequest]) -> list[LocalReply]:
        """Answer a batch, in order."""
        tokenizer = self._llm.get_tokenizer()
        longest = self._llm.llm_engine.model_config.max_model_len
        prompts = [_prompt_ids(tokenizer, request) for request in requests]
        room = [longest - len(ids) for ids in prompts]
        fitting = [place for place in range(len(requests)) if room[place] >= 1]
        try:
            outputs = self._llm.generate(
                [{"prompt_token_ids": prompts[place]} for place in fitting],
                [_sampling(requests[place], room[place], is_seeded=self._on_gpu) for place in fitting],
                use_tqdm=False,
            )
        except Exception:
            engine = self._llm.llm_engine  # what a failed call leaves behind would hold up the next one for ever
            engine.abort_request(list(engine.output_processor.request_states), internal=True)
            raise
        replies = [
            LocalReply("", "", len(ids), 0, f"a prompt of {len(ids)} tokens; expected fewer than {longest}")
            for ids in prompts
        ]
        for place, output in zip(fitting, outputs, strict=True):
            replies[place] = _reply(requests[place], output)
        return replies


def _load(model: str, settings: LocalModel) -> vllm.LLM:
    options: dict[str, Any] = {}
    if settings.gpus:
        options["gpu_memory_utilization"] = settings.gpu_memory_fraction
        options["tensor_parallel_size"] = settings.gpus
    else:
        torch.set_num_threads(settings.num_threads)
        options |= cpu_options(settings.kv_cache_gib)
    try:
        return vllm.LLM(
            model=model,
            dtype=settings.numbers,
            max_model_len=settings.max_model_len,
            enforce_eager=not settings.gpus,
            generation_config="vllm",  # no sampling defaults out of the model's folder
            disable_log_stats=True,
            use_tqdm_on_load=False,
            trust_remote_code=False,
            seed=0,
            **options,
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:240]
        raise ConfigError(
            f"judge.model {model}: cannot be loaded ({reason}); expected a model folder with its tokenizer, or a hub id"
        ) from error


def _reply(request: ChatRequest, output: vllm.RequestOutput) -> LocalReply:
    first, asked = output.outputs[0], request.sampling.n or 1
    texts = [one.text for one in output.outputs]
    return LocalReply(
        text=first.text,
        finish_reason="length" if first.finish_reason == "length" else "stop",
        prompt_tokens=len(output.prompt_token_ids or ()),
        completion_tokens=sum(len(one.token_ids) for one in output.outputs),
        texts=tuple(texts if len(texts) == asked else texts * asked),  # greedy replies are equal: one was made
        logprobs=_logprobs(first) if first.logprobs else None,
    )


def _logprobs(completion: Any) -> dict[str, Any]:
    """OpenAI's form of it: per token its own log probability (natural) and those of its likeliest alternatives."""
    content = []
    for token_id, ranked in zip(completion.token_ids, completion.logprobs, strict=True):
        entries = sorted(ranked.values(), key=lambda entry: entry.rank)
        content.append({
            "token": ranked[token_id].decoded_token,
            "logprob": ranked[token_id].logprob,
            "top_logprobs": [{"token": entry.decoded_token, "logprob": entry.logprob} for entry in entries],
        })  # fmt: skip
    return {"content": content}


def _prompt_ids(tokenizer: Any, request: ChatRequest) -> list[int]:
    """The conversation by the model's own chat template; models without one read it as plain text."""
    turns = [{"role": message.role, "content": message.content} for message in request.messages]
    if getattr(tokenizer, "chat_template", None):
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return list(tokenizer.encode(text, add_special_tokens=False))
    text = "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)
    return list(tokenizer.encode(text + "\n\nAssistant:"))


def _sampling(request: ChatRequest, room: int, *, is_seeded: bool) -> vllm.SamplingParams:
    asked = request.sampling
    schema = ((asked.response_format or {}).get("json_schema") or {}).get("schema")
    return vllm.SamplingParams(
        n=(asked.n or 1) if asked.temperature else 1,
        logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
        temperature=0.0 if asked.temperature is None else asked.temperature,
        top_p=asked.top_p or 1.0,
        max_tokens=min(asked.max_tokens or MAX_REPLY_TOKENS, room),
        stop=list(asked.stop) or None,
        seed=(asked.seed or 0) + request.replicate if is_seeded and asked.temperature else None,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
    )
