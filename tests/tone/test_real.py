"""The tone classifier on real dialogues: what is left of it without case, beside the rule that case alone makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.store import Store
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.sources import SourceSpec
from assay.tone.artifact import ToneConfig, load_tone, store_tone, tone_report
from assay.tone.model import ToneSpec
from assay.tone.texts import Dialogue, dialogues_of
from assay.tone.training import train_tone_model

ALPACA = SourceSpec(loader="alpaca", path="alpaca/alpaca_cleaned_52k.jsonl.gz", split_rule="strict", limit=1500)


def dialogues(shared_data: Path, count: int) -> list[Dialogue]:
    rows = load_examples(ALPACA.replace(limit=count), shared_data)
    return dialogues_of(rows)[:count]


def test_the_artifact_says_what_the_case_rule_would_have_said(shared_data: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    config = ToneConfig(source=ALPACA)
    key = store_tone(store, config, shared_data)
    report = tone_report(store, key)
    assert report["classifier"]["accuracy"]["low"] > 0.75
    assert report["rule"]["accuracy"]["value"] > 0.9  # the trap: these texts are cut from instructions
    assert report["calibration"]["ece"]["value"] < 0.1
    assert report["n"] == pytest.approx(2 * report["num_held_out"], abs=60)  # one-word instructions have one text
    assert store_tone(store, config, shared_data) == key
    assert load_tone(store, key).answer_like(["", "The capital of France is Paris."]) == [False, True]


@pytest.mark.slow
def test_five_thousand_dialogues_make_a_model_that_is_right_four_times_in_five(shared_data: Path) -> None:
    rows = dialogues(shared_data, 5000)
    assert len(rows) == 5000
    model = train_tone_model(rows, ToneSpec())
    assert model.sensitivity.rate > 0.8 and model.specificity.rate > 0.8
