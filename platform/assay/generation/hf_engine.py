"""The reference engine: transformers.generate with PEFT adapters, loaded once each and swapped.

Slower than vLLM and as exact as it gets: what vLLM writes is held against this. It serves every architecture that
transformers knows, on a CPU or a GPU.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby

import torch
import transformers
from peft import PeftModel

from assay.adapter_files import check_adapter
from assay.errors import DataError, ResourceError
from assay.generation.spec import (
    AdapterError,
    AdapterRef,
    GenerationResources,
    GenerationSpec,
    PromptRow,
    error_prediction,
    model_limit,
)
from assay.generation.tokenizer_engine import load_tokenizer, make_prediction, row_seed, stop_token_ids
from assay.records import Prediction

MAX_BATCH = 64
"""Rows per forward pass at most: padding and key-value memory grow with the longest of them."""
MAX_RESIDENT_ADAPTERS = 8


class HfEngine:
    """A base model and its adapters behind `generate`."""

    name = "hf"

    def __init__(self, base_path: str, spec: GenerationSpec, resources: GenerationResources) -> None:
        """Load the base model.

        Raises:
            ConfigError: the folder is no model, or lacks its tokenizer.
            ResourceError: a GPU was asked for and there is none.
        """
        self.tokenizer = load_tokenizer(base_path)
        self._spec, self._resources = spec, resources
        self._device = _device(resources)
        if self._device.type == "cpu":
            torch.set_num_threads(resources.num_threads)
        self._base = transformers.AutoModelForCausalLM.from_pretrained(
            base_path, dtype=getattr(torch, spec.dtype), trust_remote_code=False, use_safetensors=True
        )
        self._base.to(self._device).eval()
        self._peft: PeftModel | None = None
        self.max_len = model_limit(self._base.config, spec.max_model_len)
        self._stops = stop_token_ids(base_path, self.tokenizer, spec.prompt)
        pad = self.tokenizer.pad_token_id
        self._pad = pad if pad is not None else (self._stops[0] if self._stops else 0)

    def generate(self, rows: Sequence[PromptRow]) -> list[Prediction]:
        """One prediction per row, same order; a row that fails carries its reason.

        Raises:
            AdapterError: an adapter cannot be loaded, so none of its rows can be answered.
        """
        done: dict[int, Prediction] = {i: error_prediction(r, r.error) for i, r in enumerate(rows) if r.error}
        todo = [i for i in range(len(rows)) if i not in done]
        size = min(MAX_BATCH, self._resources.num_sequences or MAX_BATCH)
        # rows of one adapter together, and among them the long ones together: less padding
        todo.sort(key=lambda i: (_group(rows[i]), len(rows[i].prompt_ids), i))
        for _, members in groupby(todo, key=lambda i: _group(rows[i])):
            indices = list(members)
            with self._using(rows[indices[0]].adapter) as model:
                for start in range(0, len(indices), size):
                    batch = indices[start : start + size]
                    done.update(zip(batch, self._batch(model, [rows[i] for i in batch]), strict=True))
        return [done[i] for i in range(len(rows))]

    def prepare(self, adapter: AdapterRef) -> None:
        """Load an adapter, so that a broken one is found before its rows are asked.

        Raises:
            AdapterError: it cannot be loaded.
        """
        with self._using(adapter):
            pass

    def _batch(self, model: torch.nn.Module, rows: list[PromptRow]) -> list[Prediction]:
        try:
            return self._call(model, rows)
        except (RuntimeError, IndexError, ValueError) as error:
            if len(rows) == 1:
                return [error_prediction(rows[0], f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")]
            middle = len(rows) // 2  # one bad row, or too large a batch for the memory: halves tell
            return self._batch(model, rows[:middle]) + self._batch(model, rows[middle:])

    @torch.inference_mode()
    def _call(self, model: torch.nn.Module, rows: list[PromptRow]) -> list[Prediction]:
        width = max(len(row.prompt_ids) for row in rows)
        ids = torch.full((len(rows), width), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):  # padded on the left, so that all answers start in the same column
            ids[i, width - len(row.prompt_ids) :] = torch.tensor(row.prompt_ids)
            mask[i, width - len(row.prompt_ids) :] = 1
        vocabulary = self._base.get_input_embeddings().num_embeddings
        if int(ids.max()) >= vocabulary:
            raise ValueError(f"token id {int(ids.max())} is out of the model's vocabulary of {vocabulary}")
        sampling = self._spec.temperature > 0
        config = transformers.GenerationConfig(
            max_new_tokens=rows[0].max_new_tokens,
            do_sample=sampling,
            **({"temperature": self._spec.temperature, "top_k": 0, "top_p": 1.0} if sampling else {}),
            eos_token_id=self._stops or None,
            pad_token_id=self._pad,
        )
        with torch.random.fork_rng(devices=[]) if sampling else nullcontext():
            if sampling:
                torch.manual_seed(row_seed(self._spec.seed, *(row.example_id for row in rows)))
            written = model.generate(
                input_ids=ids.to(self._device), attention_mask=mask.to(self._device), generation_config=config
            )
        answers = written[:, width:].tolist()
        return [
            make_prediction(row, answer, self._stops, self.tokenizer, self._spec)
            for row, answer in zip(rows, answers, strict=True)
        ]

    @contextmanager
    def _using(self, adapter: AdapterRef | None) -> Iterator[torch.nn.Module]:
        """The model with this adapter active, or with none."""
        if adapter is None:
            with self._peft.disable_adapter() if self._peft is not None else nullcontext():
                yield self._peft if self._peft is not None else self._base
            return
        try:
            check_adapter(adapter.path)
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(self._base, adapter.path, adapter_name=adapter.key)
                self._peft.eval()
            elif adapter.key not in self._peft.peft_config:
                self._peft.load_adapter(adapter.path, adapter_name=adapter.key, is_trainable=False)
            self._peft.set_adapter(adapter.key)
        except (DataError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            if self._peft is not None and adapter.key in self._peft.peft_config and len(self._peft.peft_config) > 1:
                self._peft.delete_adapter(adapter.key)
            raise AdapterError(
                f"adapter {adapter.key}: cannot be loaded ({' '.join(str(error).split())[:200]})"
            ) from None
        yield self._peft
        for stale in [key for key in self._peft.peft_config if key != adapter.key][: -MAX_RESIDENT_ADAPTERS + 1]:
            self._peft.delete_adapter(stale)

    def close(self) -> None:
        """Let go of the model."""
        self._peft = self._base = None
        gc.collect()


def _group(row: PromptRow) -> tuple[str, int]:
    return (row.adapter.key if row.adapter else "", row.max_new_tokens)


def _device(resources: GenerationResources) -> torch.device:
    if not resources.gpus_per_engine:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ResourceError(
            f"generation: saw gpus_per_engine={resources.gpus_per_engine:g} and no CUDA device; expected one; "
            "set generation.resources.gpus_per_engine=0 or run on a GPU machine"
        )
    return torch.device("cuda")
