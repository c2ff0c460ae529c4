"""The tone classifier: learns from the toy world, keeps itself on disk, refuses what it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DataError
from assay.records import TEST, TRAIN, Example, Rating
from assay.scoring.protocol import ScoreRequest
from assay.scoring.scorers.tone import find_tone
from assay.tasks.toyworld.world import toy_instruction_examples
from assay.tone.features import feature_matrix
from assay.tone.model import ToneModel, ToneSpec
from assay.tone.texts import Dialogue, case_rule, dialogues_of
from assay.tone.training import held_out_texts, load_tone_model, train_tone_model
from support.shipped import get_task, make_scorer, scorer_spec

SPEC = ToneSpec(num_features=2**14)


@pytest.fixture(scope="module")
def toy() -> list[Dialogue]:
    return dialogues_of(toy_instruction_examples({TRAIN: 360, TEST: 240}, seed=3))


@pytest.fixture(scope="module")
def model(toy: list[Dialogue]) -> ToneModel:
    return train_tone_model(toy, SPEC)


def test_answers_are_told_from_continuations(model: ToneModel) -> None:
    assert model.sensitivity.n == model.specificity.n >= 90  # one text of each label per held-out dialogue
    assert model.sensitivity.rate > 0.95
    assert model.specificity.rate > 0.95


def test_it_beats_the_case_rule_where_case_says_nothing(model: ToneModel, toy: list[Dialogue]) -> None:
    """Real continuations may begin with a capital and answers without: both are made so here."""
    texts = held_out_texts(toy, SPEC)
    turned = [text.text[0].swapcase() + text.text[1:] for text in texts]
    labels = [text.is_answer_like for text in texts]
    right = np.mean(np.array(model.answer_like(turned)) == labels)
    rule = np.mean(np.array([case_rule(text) for text in turned]) == labels)
    assert right > 0.95 > rule


@given(st.text(max_size=60))
def test_case_edges_and_white_space_do_not_matter(text: str) -> None:
    plain, dressed = (feature_matrix([t], 2**12, 64) for t in (text, f'  "{text.lower()}!...\n'))
    assert (plain != dressed).nnz == 0 or text != text.lower()  # some capitals have no lower case of one letter


@given(st.lists(st.text(max_size=80), max_size=5))
def test_any_text_has_a_probability_and_an_empty_one_has_none(model: ToneModel, texts: list[str]) -> None:
    found = model.probabilities(texts)
    assert found.shape == (len(texts),)
    assert ((found >= 0) & (found <= 1)).all()
    assert model.answer_like(texts) == [bool(p >= 0.5) for p in found]
    assert model.answer_like(["", " ...", "\n"]) == [False, False, False]


def test_what_is_saved_is_loaded_the_same(model: ToneModel, toy: list[Dialogue], tmp_path: Path) -> None:
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tone.json", "weights.safetensors"]
    again = load_tone_model(tmp_path)
    texts = [dialogue.response for dialogue in toy[:50]]
    assert np.array_equal(again.probabilities(texts), model.probabilities(texts))
    assert (again.sensitivity, again.specificity, again.spec) == (model.sensitivity, model.specificity, model.spec)


def test_training_gives_the_same_weights_twice(toy: list[Dialogue], model: ToneModel) -> None:
    texts = [dialogue.instruction for dialogue in toy[:50]]
    assert np.array_equal(train_tone_model(toy, SPEC).probabilities(texts), model.probabilities(texts))


def test_too_few_dialogues_are_refused(toy: list[Dialogue]) -> None:
    with pytest.raises(DataError, match="expected at least 50 held out"):
        train_tone_model(toy[:40])


def test_a_folder_without_or_with_an_old_classifier_is_refused(model: ToneModel, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"saw no readable tone\.json"):
        load_tone_model(tmp_path)
    model.save(tmp_path)
    card = json.loads((tmp_path / "tone.json").read_text())
    (tmp_path / "tone.json").write_text(json.dumps({**card, "format": 99}))
    with pytest.raises(DataError, match="saw format 99"):
        load_tone_model(tmp_path)


def test_the_scorer_rates_by_tone_alone_and_trains_the_toy_classifier_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    example = Example("1", "instructions", TEST, "Tell Vera which land Varona is in.", "", "")
    said = ("The town of Varona is in Norland.", "that Vera has now? In Varona she buys 2 stamps.", "")
    requests = [ScoreRequest(example, get_task("instructions"), text) for text in said]
    scorer = make_scorer("tone")
    found = [outcome for outcome in scorer.score(requests) if isinstance(outcome, Rating)]
    assert [outcome.detail for outcome in found] == ["answer-like", "continuation-like", "continuation-like"]
    assert found[0].value > 0.9 and found[1].value < 0.1 and found[2].value == 0.0
    labels = make_scorer(scorer_spec("tone", output="label")).score(requests)
    assert [outcome.value for outcome in labels if isinstance(outcome, Rating)] == [1.0, 0.0, 0.0]
    (kept,) = (tmp_path / "tone").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["tone.json", "weights.safetensors"]
    find_tone.cache_clear()
    kept.joinpath("tone.json").touch()
    assert scorer.score(requests) == found


def test_the_scorer_takes_a_folder(model: ToneModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    example = Example("1", "instructions", TEST, "x", "", "")
    scorer = make_scorer(scorer_spec("tone", model=str(tmp_path)))
    (outcome,) = scorer.score([ScoreRequest(example, get_task("instructions"), "The review is positive.")])
    assert isinstance(outcome, Rating)
    assert outcome.value == pytest.approx(float(model.probabilities(["The review is positive."])[0]))
