"""What tables say of a source of pairs: its kind, and each line of its principles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from assay.generation.spec import KIND as PREDICTIONS
from assay.generation.spec import PREDICTIONS_FILE
from assay.metaeval.preference.answers import Label
from assay.mixtures.sampling import VALIDATION_FILE
from assay.mixtures.spec import KIND as MIXTURE
from assay.preference.principles import principle_for
from assay.preference.rows import PreferenceRows
from assay.preference.sources import PairsAsked, PrinciplePairs, StrongerPairs
from assay.records import Example, Prediction, to_table
from assay.store import Store
from assay.studies.catalog import load_study
from assay.studies.preferences.label_rows import label_rows
from assay.studies.preferences.making import NO_ANSWER, preferred
from assay.studies.preferences.wanted import PreferenceInputs, Sampler, WantedPairs, answer_id, wanted_pairs
from assay.tasks.datasets.preferences import store_pairs

SMALL = str(Path(__file__).resolve().parents[3] / "jobs" / "studies" / "preference_small.yaml")
LINES = ("Be short.", "Be right.")
IDS = [f"p{number}" for number in range(9)]


def stored(store: Store, asked: PairsAsked) -> WantedPairs:
    """Pairs of which the last two prompts have none: nobody answered, both sides equal."""
    inputs, start = PreferenceInputs(principles={"p.txt": LINES}), Sampler("b" * 32, "/base")
    wanted = wanted_pairs(load_study(SMALL), asked, start, "m" * 32, inputs, start)
    assert wanted.samples and wanted.losing
    with store.writing(MIXTURE, "m" * 32) as artifact:
        artifact.table(VALIDATION_FILE, pa.table({"example_id": IDS}))
    texts = {answer_id(name, 0): "the better answer" for name in IDS[:-1]}
    others = {**dict.fromkeys(texts, "worse"), answer_id(IDS[-2], 0): "the better answer"}
    for side, said in ((wanted.samples, texts), (wanted.losing, others)):
        rows = [Prediction(name, text, "stop", 4, 3) for name, text in said.items()]
        with store.writing(PREDICTIONS, side.job.key) as artifact:
            artifact.table(PREDICTIONS_FILE, to_table(rows, Prediction))
    prompt = Example("p", "instructions", "train", "Say hello.", "", "Hello.", meta_json="{}")
    prompts = [replace(prompt, example_id=name, instruction=f"Say {name}.") for name in IDS]
    rows_and_left_out = preferred(prompts, texts, others, wanted.principles)
    store_pairs(store, wanted.key, {}, PreferenceRows(tuple(rows_and_left_out[0]), rows_and_left_out[1]))
    return wanted


def test_each_principle_has_a_row_with_what_it_left_out(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    wanted = stored(store, PairsAsked("by_rules", PrinciplePairs(file="p.txt")))
    whole, *parts = label_rows(store, wanted, "tiny", "by_rules", Label("truth", named="principles"))
    assert (whole["line"], whole["kind"], whole["label"], whole["num_rows"]) == ("", "principles", "principles", 7)
    assert [row["line"] for row in parts] == list(LINES)
    held = [[name for name in IDS if principle_for(name, LINES) == line] for line in LINES]
    with_pair = [sum(name in IDS[:-2] for name in names) for names in held]
    assert [row["num_rows"] for row in parts] == with_pair
    assert all(with_pair)
    left_out = "".join(row["left_out"] for row in parts)
    assert left_out.count(f'"{NO_ANSWER}": 1') == left_out.count('"equal sides": 1') == 1
    assert whole["left_out"] == f'{{"equal sides": 1, "{NO_ANSWER}": 1}}'


def test_other_kinds_have_one_row_that_names_them(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    wanted = stored(store, PairsAsked("big", StrongerPairs(winner="other-model")))
    (row,) = label_rows(store, wanted, "tiny", "big", Label("truth", named="stronger"))
    assert (row["pairs"], row["kind"], row["line"], row["num_rows"]) == ("big", "stronger", "", 7)
