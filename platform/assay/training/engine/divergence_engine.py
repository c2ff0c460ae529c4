"""Log-probabilities of a model's own answers under itself, and under the model that its adapter was put on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from peft import PeftModel

from assay.adapter_files import check_adapter
from assay.cluster.ray_models import model_here
from assay.records import Example, Prediction
from assay.store import Store
from assay.training.batching import TrainRow
from assay.training.encoding import encode
from assay.training.engine.log_probs_engine import base_log_probs
from assay.training.engine.resident_engine import device_of, init_distributed, pin_threads, resident_base
from assay.training.engine.workers_engine import Workers
from assay.training.spec import ADAPTER_KIND, TrainResources, TrainSpec

MAX_TOKENS = 4096
"""Of one forward pass, padding included."""


class Reader:
    """Reads answers of adapters of one start."""

    def __init__(
        self,
        store: Store,
        path: str,
        key: str,
        source: str,
        train: TrainSpec,
        resources: TrainResources,
        start_adapter_key: str | None = None,
    ) -> None:
        """Load the start.

        Args:
            store: fetched from, where the start is an artifact of it.
            path: folder of the start.
            key: its content key.
            source: where another machine finds it, see `model_folders.local_model`.
            train: how rows become tokens, and the type of the weights.
            resources: threads and device.
            start_adapter_key: adapter of the store that the start is served with; written into its weights here.
        """
        pin_threads(resources.threads or max(1, int(resources.cpus_per_worker)))
        device = device_of(resources.gpus_per_worker)
        init_distributed(device)
        tuned = None if start_adapter_key is None else str(store.local_dir(ADAPTER_KIND, start_adapter_key))
        folder = model_here(store, path, key, source)
        self._base = resident_base(folder, dtype=train.dtype, device=device, start_adapter_dir=tuned)
        self._train = train.replace(objective="sft", too_long="drop", max_length=1 << 20)
        self._workers = Workers(device)

    def read(
        self, adapter: Path, examples: Sequence[Example], predictions: Sequence[Prediction], prefix: str = ""
    ) -> list[dict[str, object]]:
        """example_id, log_prob, start_log_prob (nats, of the whole answer) and num_tokens of each answer.

        An answer is read from its text, so its tokens are the tokenizer's own, which may be others than were sampled;
        one that ran into its limit has no end mark. Rows without an answer or a prompt are left out.

        Args:
            adapter: folder of the adapter.
            examples: what was asked.
            predictions: what it answered.
            prefix: what it was asked with; the start is asked without.
        """
        by_id = {row.example_id: row for row in examples}
        answered = [row for row in predictions if row.error is None and row.example_id in by_id]
        asked = [replace(by_id[row.example_id], reference=row.prediction) for row in answered]
        own_rows, start_rows = self._rows(asked, answered, prefix), self._rows(asked, answered, "")
        known = [name for name in own_rows if name in start_rows]
        model = PeftModel.from_pretrained(self._base.model, check_adapter(str(adapter)))
        try:
            own = self._log_probs([own_rows[name] for name in known])
            with model.disable_adapter():
                start = self._log_probs([start_rows[name] for name in known])
        finally:
            self._base.model = model.unload()
        return [
            {"example_id": name, "log_prob": p, "start_log_prob": q, "num_tokens": own_rows[name].num_answer_tokens}
            for name, p, q in zip(known, own, start, strict=True)
        ]

    def _rows(self, asked: Sequence[Example], answered: Sequence[Prediction], prefix: str) -> dict[str, TrainRow]:
        """The row of each answer that has one."""
        spec = self._train.replace(prompt=self._train.prompt.replace(prefix=prefix)) if prefix else self._train
        encoded = encode(asked, self._base.tokenizer, spec)
        rows: dict[str, TrainRow] = {}
        for place, row in enumerate(answered):
            tokens = encoded.tokens[encoded.starts[place] : encoded.starts[place + 1]]
            if row.finish_reason == "length":
                tokens = tokens[:-1]
            start = int(encoded.answer_starts[place])
            if len(tokens) > max(start, 1):
                rows[row.example_id] = TrainRow(tokens, start, len(rows))
        return rows

    def _log_probs(self, rows: Sequence[TrainRow]) -> list[float]:
        if not rows:
            return []
        found = base_log_probs(self._base, rows, self._workers, max_tokens=MAX_TOKENS, pack_length=None)
        return [float(value) for value in found]
