"""The processes of one training: this one's rank, sums over all, and words of the first one to the others.

What must not differ between workers (whether to report, what an evaluation found) is decided by the first and told as
JSON, so that all take the same way through the collectives.
"""

from __future__ import annotations

import json
from typing import Any

import deepspeed
import torch


class Workers:
    """This process among those that train one adapter. DeepSpeed's communication must be up."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.rank = int(deepspeed.comm.get_rank())
        self.count = int(deepspeed.comm.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for the training: it publishes, checkpoints and reports."""
        return self.rank == 0

    def total(self, value: torch.Tensor) -> float:
        """A number summed over all workers."""
        return float(self.totals(value))

    def totals(self, values: torch.Tensor) -> torch.Tensor:
        """Numbers summed over all workers, on the CPU."""
        if self.count > 1:
            values = values.to(self._device)
            deepspeed.comm.all_reduce(values)
        return values.cpu()

    def tell(self, value: Any = None) -> Any:
        """What the first worker says, in every worker; the others' argument is not looked at.

        Args:
            value: anything JSON holds.
        """
        if self.count == 1:
            return value
        data = json.dumps(value).encode() if self.is_first else b""
        size = torch.tensor([len(data)], dtype=torch.int64, device=self._device)
        deepspeed.comm.broadcast(size, 0)
        words = torch.zeros(int(size), dtype=torch.uint8, device=self._device)
        if self.is_first:
            words.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        deepspeed.comm.broadcast(words, 0)
        return json.loads(bytes(words.cpu().tolist()))
