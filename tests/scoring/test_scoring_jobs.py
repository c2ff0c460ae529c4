"""Batches, keys and rows of scores: asked = scored + unscored by reason, and nothing is guessed."""

from __future__ import annotations

import pytest

from assay.errors import ConfigError, DataError
from assay.llm.endpoint import EndpointSpec
from assay.records import Example, Prediction, Rating, Unscored
from assay.scoring.jobs import (
    NO_PREDICTION,
    WantedScores,
    check_scorers,
    chunks_of,
    is_retryable,
    judge_instance,
    judge_spec,
    make_batches,
    score_locally,
    score_row,
    scores_key,
    summarise,
    tasks_of,
)
from assay.scoring.judges.protocols.pointwise import IftevalJudge
from assay.tasks.catalog import SHIPPED_TASKS
from support.shipped import make_scorer

EXAMPLES = {
    name: Example(name, "sst2", "test", "Positive or negative?", "a film", "positive") for name in ("a", "b", "c")
}
SCORERS = [make_scorer("exact_match"), make_scorer("token_f1")]


def predictions() -> list[Prediction]:
    return [
        Prediction("a", "positive", "stop", 5, 2),
        Prediction("b", "", "error", 5, 0, "the adapter is broken"),
        Prediction("c", "negative", "stop", 5, 2),
    ]


def test_batches_hold_64_and_depend_on_the_set_of_pairs_alone() -> None:
    pairs = [(f"p{i:03d}", "rows") for i in range(130)]
    batches = make_batches([*reversed(pairs), pairs[0]])
    assert [len(batch.predictions) for batch in batches] == [64, 64, 2]
    assert batches == make_batches(pairs)


def test_every_chunk_is_work_once_and_names_the_scores_that_want_it() -> None:
    batches = make_batches([("p1", "few"), ("p2", "many")], size=1)
    specs = [scorer.spec for scorer in SCORERS]
    wanted = [(specs[0], batches[0]), (specs[1], batches[0]), (specs[1], batches[1])]
    todo = [WantedScores(spec, batch, scores_key(spec, batch)) for spec, batch in wanted]
    sizes = {"few": 3, "many": 5}
    assert [item.num_rows(sizes) for item in todo] == [3, 3, 5]
    assert chunks_of(todo, sizes, 4) == [
        {"predictions": "p1", "evaluation": "few", "start": 0, "wanted": [0, 1]},
        {"predictions": "p2", "evaluation": "many", "start": 0, "wanted": [2]},
        {"predictions": "p2", "evaluation": "many", "start": 4, "wanted": [2]},
    ]


def test_key_names_the_scorer_and_the_predictions() -> None:
    one, two = make_batches([("p1", "e"), ("p2", "e")], size=1)
    f1, em = SCORERS[1].spec, SCORERS[0].spec
    assert len({scores_key(f1, one), scores_key(f1, two), scores_key(em, one)}) == 3
    assert scores_key(em, one) != scores_key(em.replace(version=em.version + 1), one)


def test_a_judges_key_ignores_its_address_and_keeps_its_model_and_prompt() -> None:
    endpoint = EndpointSpec(base_url="http://127.0.0.1:8001/v1", name="local", model="m")
    spec = judge_spec("judge", IftevalJudge(), endpoint)
    assert spec == judge_spec("judge", IftevalJudge(), endpoint.replace(base_url="http://127.0.0.1:9/v1"))
    others = [
        judge_spec("judge", IftevalJudge(), endpoint.replace(model="n")),
        judge_spec("judge", IftevalJudge(), endpoint.replace(name="other")),
        judge_spec("judge", IftevalJudge(temperature=0.7), endpoint),
        judge_spec("judge", IftevalJudge(mode="compat"), endpoint),
    ]
    assert spec not in others


def test_a_row_without_a_prediction_is_unscored_for_every_scorer() -> None:
    rows = score_locally(SCORERS, "p", predictions(), EXAMPLES, tasks_of({"e": list(EXAMPLES.values())}, SHIPPED_TASKS))
    assert [(r.scorer, r.example_id, r.rating, r.unscored) for r in rows] == [
        ("exact_match", "a", 1.0, None),
        ("exact_match", "b", None, NO_PREDICTION),
        ("exact_match", "c", 0.0, None),
        ("token_f1", "a", 1.0, None),
        ("token_f1", "b", None, NO_PREDICTION),
        ("token_f1", "c", 0.0, None),
    ]
    assert rows[1].detail == "the adapter is broken"


def test_summary_counts_asked_scored_and_unscored_by_reason() -> None:
    outcomes = [Rating(0.5), Unscored("error: timeout"), Unscored("unparsable"), Unscored("error: timeout"), Rating(0)]
    rows = [score_row("judge", "p", str(i), outcome) for i, outcome in enumerate(outcomes)]
    summary = summarise(SCORERS[0].spec, rows)
    assert (summary["num_asked"], summary["num_scored"]) == (5, 2)
    assert summary["unscored"] == {"error: timeout": 2, "unparsable": 1}
    assert is_retryable(summary)
    assert not is_retryable({"unscored": {"unparsable": 3, NO_PREDICTION: 1}})


def test_ratings_are_stored_to_six_decimals() -> None:
    assert score_row("s", "p", "e", Rating(1 / 3)).rating == 0.333333


def test_predictions_of_another_set_are_refused() -> None:
    stray = [Prediction("zzz", "positive", "stop", 5, 2)]
    with pytest.raises(DataError, match="'zzz'"):
        score_locally(SCORERS, "p", stray, EXAMPLES, tasks_of({"e": list(EXAMPLES.values())}, SHIPPED_TASKS))


def test_two_scorers_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 called 'exact_match'"):
        check_scorers([SCORERS[0].spec, SCORERS[0].spec])


def test_a_judge_sees_the_question_without_the_models_template() -> None:
    instance = judge_instance(EXAMPLES["a"], "positive")
    assert instance.prompt == "Positive or negative?\n\na film"
    assert instance.reference == "positive"
