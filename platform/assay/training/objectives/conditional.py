"""Training on conditions: answers are imitated after a prefix that says how good they are, and asked for by the best.

    L = - sum log p(y | prefix(y), x) / number of answer tokens in the step

Two prefixes, "good" and "bad", stand before the question of the best and of the worst answer; with `quantiles` all
answers of a row are trained on, each after the prefix of its score's quantile among all training answers (Quark, its
sampling rounds and KL term left to who makes the data). Generation puts `best_prefix` before the question
(`generation.prompt.prefix`). Prefixes are text: no embedding is added, so the base stays as it is.

Source: Lu et al. 2022, arXiv 2205.13636; Liu et al. 2023, arXiv 2302.02676; Korbak et al. 2023, arXiv 2302.08582.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from assay.errors import DataError
from assay.preference.rows import PreferenceRow
from assay.records import TRAIN
from assay.training.batching import MicroBatch
from assay.training.encoding import EncodedRows
from assay.training.objectives.answers import Wanted, best_and_worst, encode_answers, encoded
from assay.training.objectives.lists import AnswerLists
from assay.training.objectives.preference import PreferenceObjective, answer_tokens

if TYPE_CHECKING:
    import torch

    from assay.training.spec import TrainSpec


class Conditional(PreferenceObjective):
    """Imitate all answers, each after a prefix that says how good it is."""

    method: Literal["conditional"] = "conditional"
    good: str = Field("[good] ", min_length=1)
    """Before the questions of best answers."""
    bad: str = Field("[bad] ", min_length=1)
    """Before the questions of worst answers."""
    quantiles: int | None = Field(None, ge=2)
    """So many levels by score instead of two by order; rows need scores."""

    @property
    def best_prefix(self) -> str:
        """What to ask with for good answers."""
        return self.good if self.quantiles is None else _level(self.quantiles, self.quantiles)

    def encoding(self) -> Mapping[str, Any]:
        return {"answers": "conditional", "good": self.good, "bad": self.bad, "quantiles": self.quantiles}

    def encode(self, examples: Sequence[Any], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
        if self.quantiles is None:
            return encoded(examples, encode_answers(examples, tokenizer, spec, self._by_order))
        cuts = _cuts(examples, self.quantiles)

        def by_score(row: PreferenceRow) -> list[Wanted]:
            levels = [bisect_right(cuts, score) + 1 for score in row.scores or ()]
            return [Wanted(place, 0, _level(level, len(cuts) + 1)) for place, level in enumerate(levels)]

        return encoded(examples, encode_answers(examples, tokenizer, spec, by_score))

    def weights(self, batch: MicroBatch) -> tuple[float, ...]:
        return (answer_tokens(batch.groups),)

    def loss_of(self, lists: AnswerLists) -> torch.Tensor:
        return -lists.policy.sum(dim=1)

    def score_of(self, lists: AnswerLists) -> torch.Tensor:
        return lists.policy

    def _by_order(self, row: PreferenceRow) -> list[Wanted]:
        return [
            one._replace(prefix=prefix) for one, prefix in zip(best_and_worst(row), (self.good, self.bad), strict=False)
        ]


def _cuts(rows: Sequence[PreferenceRow], quantiles: int) -> list[float]:
    """Scores between the levels, over the training rows' answers; a score on one belongs to the level above."""
    without = next((row.id for row in rows if row.scores is None), None)
    if without is not None:
        raise DataError(
            f"preference row {without}: saw no scores; expected some for conditional.quantiles={quantiles}; leave "
            "quantiles out to condition on the order alone"
        )
    scores = [score for row in rows if row.split == TRAIN for score in row.scores or ()]
    shares = [level / quantiles for level in range(1, quantiles)]
    return [float(cut) for cut in np.quantile(scores, shares)] if scores else []


def _level(level: int, of: int) -> str:
    return f"[quality {level} of {of}] "
