"""What an objective is: how examples become rows, the loss of a pass, what is watched beside it.

A training knows no objective by name. It asks one for its rows, lets it look at them once before the first step
(`prepare`: where a reference model's log-probabilities are had), and then asks for the loss of each forward pass, a
sum per term, which it divides by the term's weight over the whole optimizer step. So micro-batches, packing and
workers cut a step as they like.

Objectives are frozen configuration: their fields are what a study says and part of an adapter's key. torch is named
in annotations alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from assay.config import Config
from assay.training.batching import MicroBatch, RowGroup, TrainRow
from assay.training.encoding import EncodedRows

if TYPE_CHECKING:
    import torch

    from assay.training.spec import TrainSpec

LogProbs = Callable[[Sequence[TrainRow]], npt.NDArray[np.float64]]
"""Log-probability of each row's answer under the reference model, nats, shape (rows,)."""


class PassModel(Protocol):
    """The model of a forward pass, as an objective sees it."""

    def target_loss(self, batch: MicroBatch) -> torch.Tensor:
        """Cross-entropy summed over the pass's trained tokens, nats, scalar."""
        ...

    def answer_log_probs(self, batch: MicroBatch) -> torch.Tensor:
        """Log-probability of each row's trained tokens, nats, in the order of the pass's groups, shape (R,)."""
        ...


class PassLoss(NamedTuple):
    """What an objective makes of one forward pass."""

    terms: tuple[torch.Tensor, ...]
    """Sums, one for each of `Objective.weights`; the loss is the sum of each over its weight."""
    watched: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = {}
    """Name -> sum and count of a figure whose mean is kept in the history; the same names in every pass."""


class Objective(Config, ABC):
    """What a training minimises."""

    method: str
    """Its name in a study."""
    learns_from_pairs: ClassVar[bool] = False
    """Whether its examples are `PreferenceRow`s rather than `Example`s."""

    @property
    def best_prefix(self) -> str:
        """What a model so trained is asked with (`PromptSpec.prefix`) for its best answers; empty: nothing."""
        return ""

    def encoding(self) -> Mapping[str, Any]:
        """What `encode` depends on beside the prompt's settings, as JSON: part of what names encoded rows."""
        return {}

    @abstractmethod
    def encode(self, examples: Sequence[Any], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
        """Tokenize examples; each becomes a group of rows that stays together.

        Raises:
            DataError: the tokenizer or the examples lack what the objective needs.
        """

    def prepare(self, groups: Sequence[RowGroup], log_probs: LogProbs) -> list[RowGroup]:
        """The groups as they are trained, with `TrainRow.reference` where the loss wants it.

        Called once before the first step, with the training's groups and after them those of validation.
        """
        return list(groups)

    def trained(self, group: RowGroup) -> RowGroup:
        """The rows of a group that a training pass holds."""
        return group

    def measured(self, group: RowGroup) -> RowGroup:
        """The rows of a group that a validation pass holds."""
        return self.trained(group)

    def drifting(self, group: RowGroup) -> RowGroup:
        """Rows whose mean log-ratio to the reference is taken without gradient before each step; none by default."""
        return ()

    @abstractmethod
    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        """What a pass adds to the weight of each term: its tokens, pairs or lists. The same on every worker."""

    @abstractmethod
    def loss(self, model: PassModel, batch: MicroBatch, drift: float) -> PassLoss:
        """The loss of one pass.

        Args:
            model: asked for one forward pass.
            batch: the pass.
            drift: mean over the step's `drifting` rows of log p - log p_reference, nats; 0 where there are none.
        """
