"""Categories for an untagged instruction set: which rows a judge tags, and a classifier that tags the others. Pure.

The judge is asked about a sample; a linear classifier over word n-grams, or over the vectors of a sentence encoder,
learns from its tags and tags the rest. How well it does is measured on judge-tagged rows that it did not see, and
stated with the result: agreement with the judge, not with people. scikit-learn is imported where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from assay.config import NOT_IDENTITY, Config, Later
from assay.errors import DataError
from assay.fingerprint import delimited_hash
from assay.records import Example

INPUT_CHARS = 600
"""Of a row's input that the classifier reads; categories show in the instruction and in how the input begins."""
WORDS = r"(?u)\b\w+\b|[?:=+*/<>{}]"
"""A word, or a mark that tells code, arithmetic or a question."""
LEAST_TAGGED = 50
"""Judge-tagged rows below which there is nothing to learn from."""


class JudgeTags(Config):
    """Another dataset with an instruction category for each row."""

    kind: Literal["judge_tags"] = "judge_tags"
    of: str
    """Dataset whose rows are tagged."""
    judge_rows: int | None = Field(None, ge=LEAST_TAGGED)
    """Rows that the judge tags, by a hash of their ids; the classifier tags the others. None: the judge tags all."""
    held_out_share: float = Field(0.2, gt=0, lt=1)
    """Of the judge-tagged rows, kept from the classifier to measure it."""
    encoder: Annotated[str, NOT_IDENTITY] = ""
    """Sentence encoder whose vectors the classifier reads, a folder or a hub id, known by its content. Empty: word and
    letter n-grams, which need no model."""
    structured: Annotated[bool, Later(False)] = False
    """Ask for a JSON schema, which holds a small local judge to one of the categories."""
    seed: int = 0


@dataclass(frozen=True)
class TaggerReport:
    """How the classifier did on judge-tagged rows that it was not trained on."""

    num_train: int
    num_held_out: int
    num_right: int
    num_most_common: int
    """Held-out rows of the most common category: what a constant guess would get right."""
    by_category: Mapping[str, tuple[int, int]]
    """Category -> (right, rows) among the held-out rows."""

    def as_dict(self) -> dict[str, object]:
        return {
            "num_train": self.num_train,
            "num_held_out": self.num_held_out,
            "num_right": self.num_right,
            "num_most_common": self.num_most_common,
            "by_category": {name: list(counts) for name, counts in sorted(self.by_category.items())},
        }


def rows_for_judge(spec: JudgeTags, rows: Sequence[Example]) -> list[Example]:
    """The rows that the judge tags, in source order: a larger number holds the smaller one's rows."""
    if spec.judge_rows is None or spec.judge_rows >= len(rows):
        return list(rows)
    chosen = {row.example_id for row in sorted(rows, key=lambda row: _rank(spec, row, "judge"))[: spec.judge_rows]}
    return [row for row in rows if row.example_id in chosen]


Embed = Callable[[Sequence[str]], np.ndarray]
"""From texts to vectors, one row each."""


def learn_tags(
    spec: JudgeTags, tagged: Sequence[tuple[Example, str]], untagged: Sequence[Example], embed: Embed | None = None
) -> tuple[list[str], TaggerReport]:
    """A category for every untagged row, and how far to believe it.

    Args:
        spec: shares and seed.
        tagged: rows with the judge's category.
        untagged: rows to tag.
        embed: of the spec's encoder, where it names one.

    Raises:
        DataError: too few tagged rows, or all in one category.
    """
    if len(tagged) < LEAST_TAGGED or len({category for _, category in tagged}) < 2:
        raise DataError(
            f"tagging: saw {len(tagged)} tagged rows in {len({c for _, c in tagged})} categories; expected at least "
            f"{LEAST_TAGGED} rows in 2 categories to learn from; let the judge tag more"
        )
    ordered = sorted(tagged, key=lambda pair: _rank(spec, pair[0], "held out"))
    num_held_out = max(1, round(spec.held_out_share * len(ordered)))
    held_out, train = ordered[:num_held_out], ordered[num_held_out:]
    features = _features([*(row for row, _ in ordered), *untagged], embed)
    guesses = _fit_predict(train, [row for row, _ in held_out], features)
    truth = [category for _, category in held_out]
    right = Counter(category for category, guess in zip(truth, guesses, strict=True) if category == guess)
    seen = Counter(truth)
    report = TaggerReport(
        num_train=len(train),
        num_held_out=len(held_out),
        num_right=sum(right.values()),
        num_most_common=max(seen.values()),
        by_category={name: (right[name], count) for name, count in seen.items()},
    )
    # what tags the rest has learned from the held-out rows too: it can only be better than what was measured
    return _fit_predict(ordered, untagged, features) if untagged else [], report


def _features(rows: Sequence[Example], embed: Embed | None) -> Mapping[str, Any]:
    """What the classifier reads, by row id: a text, or its vector."""
    texts = [_row_words(row) for row in rows]
    return dict(zip((row.example_id for row in rows), texts if embed is None else embed(texts), strict=True))


def _fit_predict(
    train: Sequence[tuple[Example, str]], rows: Sequence[Example], features: Mapping[str, Any]
) -> list[str]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    classifier = LogisticRegression(C=8.0, max_iter=400, class_weight="balanced", random_state=0)
    is_text = isinstance(next(iter(features.values())), str)
    model = make_pipeline(_n_grams(), classifier) if is_text else classifier
    model.fit([features[row.example_id] for row, _ in train], [category for _, category in train])
    return [str(category) for category in model.predict([features[row.example_id] for row in rows])]


def _n_grams() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).set_params(token_pattern=WORDS)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True, max_features=60_000)
    return make_union(words, letters)


def _row_words(row: Example) -> str:
    shown = row.input[:INPUT_CHARS]
    size = "noinput" if not row.input else "shortinput" if len(row.input) < 120 else "longinput"
    return f"{row.instruction}\n{size}\n{shown}"


def _rank(spec: JudgeTags, row: Example, purpose: str) -> str:
    return delimited_hash([purpose, str(spec.seed), row.example_id])
