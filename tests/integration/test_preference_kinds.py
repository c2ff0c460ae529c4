"""Every kind of preference pairs, and expert iteration, through the real engines: Ray, DeepSpeed, vLLM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assay.preference.rows import KIND, PreferenceRow, read_rows
from assay.store import Store
from support.tiny_study import (
    PATIENCE_S,
    TINY,
    Finished,
    artifact_files,
    assay,
    ledger_calls,
    settings,
    table,
    table_bytes,
)

pytestmark = [pytest.mark.timeout(3 * PATIENCE_S), pytest.mark.slow]
GIVEN = 24
BASE = {
    **{name: value for name, value in TINY.items() if not name.startswith(("grid.", "data.sources.toy"))},
    "generation.temperature": "1.0",
    "scorers": "[exact_match, token_f1, truth]",
    "training_seeds": "[0]",
    "training_seeds_at_zero": "[]",
}
GRID: Mapping[str, Any] = {
    "design": "preference",
    "start": "merged",
    "start_rows": 20,
    "num_prompts": 16,
    "tuning_prompts": 6,
    "reported_prompts": 8,
    "tuning": {"learning_rate": [0.001]},
    "seeds": 1,
    "frontier": 2,
}
LONGER = {"label": "truth", "length_bias": 0.05, "temperature": 1.0}
"""A base that knows nothing is never right, so length alone tells its answers apart."""

KINDS: Mapping[str, Any] = {
    "given": {"dataset": "liked"},
    "rso": {"num": 6, "keep": 3, "beta": 0.2, **LONGER},
    "stronger": {"winner_prefix": "Answer in a long sentence. ", "temperature": 1.0},
    "principles": {"file": "principles.txt", "temperature": 1.0},
    "compared": {"kind": "sampled", "num": 3, "label": "pairwise", "temperature": 1.0},
}
METHODS = ["best_of_n", "dpo"]


def run(storage: Path, root: Path, name: str, environ: Mapping[str, str] | None = None, **grid: object) -> Finished:
    changes = {
        "name": name,
        "grid": json.dumps({**GRID, **grid}),
        "data.root": str(root),
        "data.sources.liked": json.dumps({"loader": "jsonl", "path": "liked.jsonl", "preference": "trl"}),
    }
    return assay("run", "quickstart", "--storage", str(storage), *settings(changes, BASE), **(environ or {}))


def rows_by_source(storage: Path) -> dict[str, list[PreferenceRow]]:
    """Rows of each pairs artifact, by where they say they come from."""
    store = Store(str(storage))
    parts = [read_rows(store, key) for key in store.keys(KIND)]
    return {part[0].source: part for part in parts}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "principles.txt").write_text("Be short.\nBe right.\n")
    rows = [{"prompt": f"Name the number {n}.", "chosen": f"It is {n}.", "rejected": "No."} for n in range(GIVEN)]
    (folder / "liked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def test_every_kind_of_pairs_is_made_trained_on_and_reported(storage: Path, root: Path) -> None:
    ended = run(storage, root, "kinds", pairs=KINDS, methods=METHODS)
    assert ended.code == 0, ended.err
    rows = rows_by_source(storage)
    assert set(rows) == {"liked", "rso:truth", "stronger", "principles", "sampled:pairwise"}
    assert len(rows["liked"]) == GIVEN
    for row in rows["rso:truth"]:
        assert 2 <= len(row.answers) <= 3
        assert row.scores is not None and list(row.scores) == sorted(row.scores, reverse=True)
    for row in rows["sampled:pairwise"]:  # shares of 2 comparisons in both orders, ties half
        assert row.scores is not None and {8 * score for score in row.scores} <= set(range(9))
    assert ledger_calls(storage)
    for source in ("stronger", "principles"):
        assert rows[source] and all(len(row.answers) == 2 and row.scores is None for row in rows[source])

    labels = {row["pairs"]: row for row in table(storage, "preference_labels", "kinds")}
    assert {name: row["label"] for name, row in labels.items()} == {
        "given": "given", "rso": "truth", "stronger": "given", "principles": "given", "compared": "pairwise by vanilla",
    }  # fmt: skip
    assert labels["rso"]["longer_share"] == 1.0  # nothing but length was rewarded
    for kind, asked in (("rso", 16), ("stronger", 16), ("principles", 16), ("compared", 16)):
        left_out = json.loads(str(labels[kind]["left_out"]))
        assert int(str(labels[kind]["num_rows"])) + sum(left_out.values()) == asked
    measures = table(storage, "preference_measures", "kinds")
    assert {row["pairs"] for row in measures} == set(KINDS)
    assert all(row["value"] is not None for row in measures if row["measure"] in ("kl", "words", "truth"))


@pytest.mark.parametrize("gone", ["", "divergence"])
def test_what_is_whole_is_tabled_again_without_an_engine(storage: Path, root: Path, tmp_path: Path, gone: str) -> None:
    for name in ("ray", "torch", "vllm", "deepspeed"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')\n")
    folder = storage / "studies" / "kinds"
    (folder / "done.json").unlink(missing_ok=True)
    before = table_bytes(storage, "kinds")
    if gone:
        (away := tmp_path / "away").mkdir()
        artifact = next((storage / "artifacts" / gone).iterdir())
        shutil.move(artifact, away)
    ended = run(storage, root, "kinds", pairs=KINDS, methods=METHODS, environ={"PYTHONPATH": str(tmp_path)})
    if gone:
        shutil.move(away / artifact.name, artifact)
        assert "ray was imported" in ended.err  # what is missing is made
        return
    assert ended.code == 0, ended.err
    assert table_bytes(storage, "kinds") == before


def test_a_start_that_gives_no_verdict_labels_nothing(storage: Path, root: Path) -> None:
    """The tiny base is asked which of its answers is better, and does not say."""
    own = {"own": {"kind": "sampled", "num": 2, "label": "self", "temperature": 1.0}}
    ended = run(storage, root, "own", pairs=own, methods=METHODS)
    assert ended.code == 2
    assert "pairs 'own': saw no preference among 16 prompts" in ended.one_line()
    assert "no score" in ended.one_line()


def test_expert_iteration_goes_round_and_starts_from_what_sampling_shares(storage: Path, root: Path) -> None:
    before = artifact_files(storage, ["base", "mixture"])
    ended = run(
        storage,
        root,
        "rounds",
        pairs={"sampled": {"num": 3, **LONGER}},
        methods=["sft_chosen", "expert_iteration"],
        rounds=2,
    )
    assert ended.code == 0, ended.err
    after = artifact_files(storage, ["base", "mixture"])
    assert before.items() <= after.items()  # start and prompts are those of the study before
    arms = {row["method"]: row for row in table(storage, "preference_arms", "rounds")}
    assert set(arms) == {"sft_chosen", "expert_iteration"}
    # its first round is what sft_chosen trains; its last one is trained on answers of that adapter
    pairs = [part for source, part in rows_by_source(storage).items() if source == "sampled:truth"]
    assert pairs
    store = Store(str(storage))
    of_rounds = [key for key in store.keys(KIND) if read_rows(store, key)[0].source == "sampled:truth"]
    assert len(of_rounds) == 2
