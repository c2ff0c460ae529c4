"""Which adapters stand in for mixtures, what they are asked, and how they are compared with trained ones."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.store import Store
from assay.studies.catalog import load_study
from assay.studies.prepared import PreparedStudy, prepare_study
from assay.studies.proxies.scored import ScoredMixtures, _columns, agreement, column_of
from assay.studies.proxies.wanted import WantedProxies, further_points, wanted_proxies
from assay.studies.spec import Study

FILE = "jobs/studies/mixture_sixty.yaml"
PARTS = ("toy_arithmetic", "toy_entities", "toy_sentiment")


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedStudy:
    return prepare_study(load_study(FILE, ["grid.draws=1"]), "rubric", Store(str(tmp_path)))


class Asked:
    """As much of a study's results as its columns follow from."""

    def __init__(self, prepared: PreparedStudy) -> None:
        self.study, self.sets = prepared.study, prepared.sets


def wanted(prepared: PreparedStudy, *points: dict[str, float]) -> WantedProxies:
    base = prepared.artifacts.trainings[0].base_name
    return wanted_proxies(prepared.study, prepared.artifacts, prepared.sets, base, points)


def key_of(prepared: PreparedStudy, arm: str) -> str:
    return next(key for cell, key in prepared.artifacts.cells if cell.arm == arm)


def test_a_proxy_adds_the_adapters_of_its_components_by_shares_and_answers_every_set(prepared: PreparedStudy) -> None:
    found = wanted(prepared, {"toy_sentiment": 0.25, "toy_entities": 0.75}, {"toy_arithmetic": 1.0})
    mixed, alone = found.adapters.values()
    assert mixed.parts == (key_of(prepared, "toy_entities alone"), key_of(prepared, "toy_sentiment alone"))
    assert (mixed.weights, mixed.rank) == ((0.75, 0.25), 2 * prepared.study.train.lora_rank)
    assert (alone.parts, alone.weights) == ((key_of(prepared, "toy_arithmetic alone"),), (1.0,))
    assert not found.plan.trainings and not found.plan.cells
    asked = {(job.adapter_key, job.lora_rank) for job in found.plan.generations}
    assert asked == {(mixed.key, mixed.rank), (alone.key, alone.rank)}
    assert {run.evaluation_set for run in found.plan.runs} == set(PARTS) and len(found.plan.runs) == 6
    # nobody can take a proxy's answers for those of a training
    assert not {run.predictions_key for run in found.plan.runs} & {
        run.predictions_key for run in prepared.artifacts.runs
    }


def test_equal_mixtures_are_asked_once_and_keys_follow_the_shares_alone(prepared: PreparedStudy) -> None:
    half = {"toy_sentiment": 0.5, "toy_entities": 0.5}
    once, again = wanted(prepared, half, dict(half)), wanted(prepared, {"toy_entities": 0.5, "toy_sentiment": 0.5})
    assert list(once.shares) == list(again.shares) and len(once.shares) == 1
    (other,) = wanted(prepared, {"toy_sentiment": 0.4, "toy_entities": 0.6}).adapters.values()
    assert other.key != next(iter(once.adapters.values())).key


def test_a_study_without_components_alone_has_no_proxy(tmp_path: Path) -> None:
    study = load_study(FILE, ["grid.draws=1", "grid.space.include=[]"])
    prepared = prepare_study(study, "rubric", Store(str(tmp_path)))
    with pytest.raises(ConfigError, match="no mixture of 'toy_arithmetic' alone"):
        wanted(prepared, {"toy_sentiment": 1.0})
    with pytest.raises(ConfigError, match="expected one of"):
        wanted_proxies(prepared.study, prepared.artifacts, prepared.sets, "nobody", [])


def test_further_mixtures_fill_the_study_s_own_space() -> None:
    alone = "grid.points=[" + ", ".join(f"{{{part}: 1}}" for part in PARTS) + "]"
    study: Study = load_study(FILE, ["grid.space.bounds={toy_sentiment: [0.5, 0.9]}", alone])
    found = further_points(study, 40, seed=5)
    assert len(found) == 40 and all(sorted(point) == list(PARTS) for point in found)
    assert all(0.5 <= point["toy_sentiment"] <= 0.9 for point in found)
    assert further_points(study, 0, seed=5) == []
    with pytest.raises(ConfigError, match="expected mixture"):
        further_points(load_study("quickstart", []), 4, seed=5)


def test_rows_keep_shares_and_scores_apart_where_sets_are_called_as_components_are(
    prepared: PreparedStudy, tmp_path: Path
) -> None:
    scores = _columns([{part: 0.1 * place for place, part in enumerate(PARTS)}], Asked(prepared))  # type: ignore[arg-type]
    share = {PARTS[0]: 0.5, PARTS[1]: 0.25, PARTS[2]: 0.25}
    (row,) = ScoredMixtures(["a"], [share], scores).rows()
    assert {name: row[name] for name in PARTS} == share
    assert [row[column_of(name)] for name in PARTS] == [0.0, 0.1, 0.2] and row["objective"] == pytest.approx(0.1)


def test_agreement_is_over_mixtures_once_each_and_leaves_components_alone_out() -> None:
    shares = [{"a": part / 10, "b": 1 - part / 10} for part in (10, 1, 1, 3, 5, 7, 9)]
    trained = ScoredMixtures([*"abcdefg"], shares, {"x": [9.0, 0.0, 2.0, 2.0, 3.0, 4.0, 5.0]})
    proxies = ScoredMixtures([*"hijkl"], [shares[0], *shares[2:6]], {"x": [0.0, 1.0, 2.0, 4.0, 3.0]})
    found = agreement(trained, proxies, "x")
    # (0 + 2) / 2 = 1, 2, 3, 4 against 1, 2, 4, 3; the ninth tenth has no proxy
    assert (found.n, found.value) == (4, pytest.approx(0.8))
    assert math.isnan(agreement(trained, ScoredMixtures([], [], {"x": []}), "x").value)
