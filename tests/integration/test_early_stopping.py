"""A whole study of early stopping, small in every direction, run as users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.store import Store
from support.tiny_study import assay, settings, table

SMALL = {
    "name": "stops",
    "data.sources.instructions.num_train": "60",
    "data.sources.toy_sentiment.num_train": "24",
    "tiny_base.num_documents": "1500",
    "tiny_base.num_steps": "60",
    "grid.sizes": "[8]",
    "grid.validation_rows": "8",
    "training_seeds": "[0]",
    "train.num_epochs": "3",
    "ifs.every_steps": "2",
    "ifs.num_prompts": "40",
    "ifs.max_new_tokens": "8",
    "ifs.objecqa_max_new_tokens": "4",
    "ifs.rule.threshold": "0.01",
    "ifs.rule.max_gain": "0.9",
    "ifs.rule.window": "1",
    "evaluation.target_rows": "12",
    "evaluation.instruction_rows": "12",
    "evaluation.instruction_max_new_tokens": "8",
    "scorers": "[exact_match, truth]",
    "statistics.resamples": "200",
    "resources.num_cpus": "2",
}
"""A rule that holds as soon as anything is answer-like: a base of 60 steps learns no tone."""


@pytest.mark.study
def test_a_training_is_done_in_full_and_stopped_and_both_stand_side_by_side(tmp_path: Path) -> None:
    ended = assay("run", "early_stopping_small", "--storage", str(tmp_path), *settings(base=SMALL))
    assert ended.code == 0, ended.err
    (row,) = table(tmp_path, "early_stopping", "stops")
    assert row["same_prefix"]
    assert row["full_steps"] == 15  # 68 rows in batches of 16, three times
    assert row["num_prompts"] == 40
    assert row["exact_match_n"] == 12
    assert row["objecqa_n"] + row["objecqa_missing"] == 100  # type: ignore[operator]
    curves = table(tmp_path, "ifs_curves", "stops")
    full = [point for point in curves if point["run"] == "full"]
    assert [point["step"] for point in full] == [0, 2, 4, 6, 8, 10, 12, 14, 15]
    instruments = {(line["instrument"], line["measure"]) for line in table(tmp_path, "ifs_instruments", "stops")}
    assert ("ObjecQA judge", "accuracy (validation part of the sample)") in instruments
    store = Store(str(tmp_path))
    history = store.read_table("adapter", str(row["full_adapter"]), "history.parquet").to_pylist()
    assert "ifs/corrected" in json.loads(history[1]["hooks_json"])
    page = (tmp_path / "studies" / "stops" / "report.html").read_text()
    assert "When the format is infused" in page
    assert (tmp_path / "studies" / "stops" / "figures" / "format_infusion.svg").exists()
    again = assay("run", "early_stopping_small", "--storage", str(tmp_path), *settings(base=SMALL))
    assert "nothing to do" in again.out
