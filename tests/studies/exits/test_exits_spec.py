"""Which studies may have the field `exits`, and that those without it are what they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.studies.catalog import load_study
from assay.studies.spec import Study
from support.exits_study import exits_study

EXITS = "exits={at: [0.25, 0.5]}"
TARGET = "grid.target_validation_rows=8"


def refused(reference: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_study(reference, [EXITS, *overrides])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_the_field_a_study_is_what_it_was(tmp_path: Path) -> None:
    plain = load_study("quickstart", [])
    assert "exits" not in plain.identity()
    assert fingerprint(load_study("quickstart", ["exits=null"]).identity()) == fingerprint(plain.identity())
    ending = load_study(exits_study(tmp_path), [])
    assert ending.exits is not None and ending.exits.credit == 0.5
    assert fingerprint(ending.replace(exits={"at": [0.5]}).identity()) != fingerprint(ending.identity())


def test_the_papers_grid_wants_target_rows_to_validate_on() -> None:
    tasks = "grid.tasks=[toy_sentiment]"
    assert "no validation row is of 'toy_sentiment'" in refused("quickstart", tasks)
    assert isinstance(load_study("quickstart", [EXITS, tasks, TARGET]), Study)
    # rows of another dataset than the task's own say nothing about the task
    assert "no validation row is of 'toy_entities'" in refused("quickstart", TARGET)
    assert "the mode compat" in refused("quickstart", tasks, TARGET, "mode=compat")


def test_a_mixture_wants_what_it_asks_among_its_components(tmp_path: Path) -> None:
    study = exits_study(tmp_path)
    told = refused(study, "evaluation.sets={toy_sentiment: {rows: 4}}")
    assert "'toy_sentiment'" in told and "make it a component" in told
    assert "'toy_entities'" in refused(study, "grid.validation_rows=1")  # none of each


@pytest.mark.parametrize("name", ["s2", "hold_one_out", "s1_sources"])
def test_designs_whose_arms_share_no_rows_are_refused(name: str) -> None:
    assert "share no held-out rows" in refused(name)


def test_other_designs_and_decisions_are_refused() -> None:
    for name in ("weights_small", "preference_small"):
        assert "exits: " in refused(str(Path(__file__).resolve().parents[3] / "jobs" / "studies" / f"{name}.yaml"))
    tasks = ("grid.tasks=[toy_sentiment]", TARGET)
    decide = "decide={scorer: truth, spend: {rounds: [2, 3]}}"
    assert "leave out one of the two" in refused("quickstart", *tasks, decide)
    assert "exits: a study of ifs" in refused("early_stopping_small", TARGET)


@pytest.mark.parametrize("at", ["[]", "[0.5, 0.5]", "[0.5, 0.25]", "[1.0]", "[0]", "[.nan]"])
def test_parts_rise_between_the_ends(at: str) -> None:
    with pytest.raises(ConfigError, match="exits"):
        load_study("quickstart", ["grid.tasks=[toy_sentiment]", TARGET, f"exits={{at: {at}}}"])
