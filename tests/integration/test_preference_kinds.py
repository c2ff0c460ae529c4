"""Every kind of pairs on real engines to a report.

One study has all kinds of pairs as an axis but one. Another iterates from a start that is served beside what is
trained, and in a third the start itself labels: a model that can, since its weights are set by hand.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from assay.generation.spec import KIND as PREDICTIONS
from assay.preference.rows import KIND as PAIRS
from assay.preference.rows import read_rows
from assay.store import Store
from assay.training.references import REFERENCE_KIND
from assay.training.spec import ADAPTER_KIND
from support.faults import attempts, stored
from support.judging_model import POSITIONS, make_judging_model
from support.preference_study import write_study
from support.tiny_study import PATIENCE_S, Finished, artifact_files, assay, table

pytestmark = [pytest.mark.study, pytest.mark.timeout(2 * PATIENCE_S)]
KINDS: dict[str, dict[str, Any]] = {
    "given": {"dataset": "people"},
    "rated": {"kind": "sampled", "num": 4, "temperature": 1.0, "label": "judge"},
    "compared": {"kind": "sampled", "num": 4, "temperature": 1.0, "label": "pairwise"},
    "rso": {"num": 6, "keep": 3, "label": "judge"},
    "stronger": {"winner": "toy"},
    "prompted": {"kind": "stronger", "winner_prefix": "It is nine. ", "loser_prefix": "The house. "},
    "principles": {"file": "principles.txt"},
}  # fmt: skip
LABELS = {
    "given": "given", "rated": "judge", "compared": "pairwise by vanilla", "rso": "judge", "stronger": "stronger",
    "prompted": "stronger", "principles": "principles",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture(scope="module")
def study(home: Path) -> Path:
    return write_study(home, {"pairs": KINDS, "methods": ["best_of_n", "dpo"]})


@pytest.fixture(scope="module")
def storage(home: Path, study: Path) -> Path:
    """Storage with the study of all kinds."""
    return finished(home / "runs", study)


def finished(storage: Path, study: Path) -> Path:
    began = time.monotonic()
    ended: Finished = assay("run", str(study), "--storage", str(storage))
    assert ended.code == 0, ended.err
    print(f"{study.stem}: {time.monotonic() - began:.0f} s")
    return storage


def of_pairs(storage: Path, name: str, study: str = "kinds") -> dict[str, dict[str, Any]]:
    """Rows of a table by source of pairs, of the lines of principles the row of all."""
    return {str(row["pairs"]): dict(row) for row in table(storage, name, study) if not row.get("line")}


def test_every_kind_of_pairs_comes_to_a_report(storage: Path) -> None:
    labels, arms = of_pairs(storage, "preference_labels"), of_pairs(storage, "preference_arms")
    assert set(labels) == set(arms) == set(KINDS)
    assert {name: row["label"] for name, row in labels.items()} == LABELS
    assert {name: row["kind"] for name, row in labels.items()} == {
        name: spec.get("kind", name) for name, spec in KINDS.items()
    }
    for name, row in labels.items():
        left_out = sum(json.loads(row["left_out"]).values())
        assert row["num_rows"] > 0, (name, row)
        assert row["num_rows"] + left_out == (16 if name == "given" else 12), (name, row)
    store = Store(str(storage))
    sources = {row.source for key in store.keys(PAIRS) for row in read_rows(store, key)}
    assert {"sampled:judge", "sampled:pairwise", "rso:judge", "stronger"} <= sources
    assert (
        {"principles:Be short.", "principles:Be right."} >= {name for name in sources if "principles" in name} != set()
    )
    measures = table(storage, "preference_measures", "kinds")
    for name in KINDS:
        known = {row["measure"]: row for row in measures if row["pairs"] == name and row["method"] == "dpo"}
        assert {"token_f1", "judge", "label", "kl", "win_rate", "words"} <= set(known)
        assert all(math.isfinite(float(str(known[part]["value"]))) for part in ("token_f1", "kl", "words"))
    section = (storage / "studies" / "kinds" / "report.html").read_text().split('<section id="preferences">')[1]
    assert all(f"pairs {name}</h3>" in section for name in KINDS)
    assert "by “Be short.”" in section


def test_sources_that_sample_alike_share_their_answers(storage: Path) -> None:
    adapters = 1 + len(KINDS)  # the start's instruction tuning, and one training on each source
    assert stored(storage, ADAPTER_KIND) == adapters
    assert stored(storage, PAIRS) == len(KINDS)
    # one set for both labels; rso; the model and the start; both prompts; critiques and revisions of those answers of
    # the start; best of n; what all models answer to prompts to choose by, to report, and to show what was forgotten
    assert stored(storage, PREDICTIONS) == 1 + 1 + 2 + 2 + 2 + 1 + 3 * adapters


def test_a_finished_study_does_nothing_and_starts_no_ray(storage: Path, study: Path, tmp_path: Path) -> None:
    files, asked = artifact_files(storage), attempts(storage)
    assert asked
    began = time.monotonic()
    again = assay("run", str(study), "--storage", str(storage), RAY_TMPDIR=str(tmp_path))
    seconds = time.monotonic() - began
    assert again.code == 0, again.err
    assert "nothing to do" in again.out
    assert artifact_files(storage) == files
    assert attempts(storage) == asked
    assert not list(tmp_path.iterdir()), "Ray was started"
    print(f"finished study run again: {seconds:.1f} s")


def test_rounds_from_a_start_that_is_served_beside_what_is_trained(home: Path) -> None:
    storage = home / "runs"
    pairs = {"rated": {**KINDS["rated"], "label": "token_f1"}}
    grid = {"start": "stacked", "pairs": pairs, "methods": ["dpo", "expert_iteration"], "rounds": 2}
    finished(storage, write_study(home, grid, name="iterated"))
    store = Store(str(storage))
    arms = {str(row["method"]): row for row in table(storage, "preference_arms", "iterated")}
    assert set(arms) == {"dpo", "expert_iteration"}
    wanted = json.loads((storage / "studies" / "iterated" / "side" / "artifacts.json").read_text())
    assert len(wanted["base"]) == 1  # nothing is written into a base
    manifests = {key: store.manifest(ADAPTER_KIND, key) for key in wanted[ADAPTER_KIND]}
    stacks = {key: part["spec"]["adapters"] for key, part in manifests.items() if "adapters" in part["spec"]}
    (start,) = {parts[0] for parts in stacks.values()}
    assert len(stacks) == 3  # dpo, and two rounds
    references = [store.manifest(REFERENCE_KIND, key) for key in store.keys(REFERENCE_KIND)]
    assert [part["spec"].get("start_adapter") for part in references].count(start) == 1
    trained = {parts[1] for parts in stacks.values()}
    histories = {key: store.read_table(ADAPTER_KIND, key, "history.parquet").to_pylist() for key in trained}
    watched = {key: json.loads(rows[0]["hooks_json"] or "{}") for key, rows in histories.items()}
    (dpo,) = [key for key, part in watched.items() if "objective/margin" in part]
    # the reference is the start with the new adapter off: before the first step both are one model
    assert histories[dpo][0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert watched[dpo]["objective/margin"] == pytest.approx(0.0, abs=1e-3)
    by_measure = {(row["method"], row["measure"]): row for row in table(storage, "preference_measures", "iterated")}
    for method in arms:
        assert abs(float(str(by_measure[method, "kl"]["value"]))) < 2.0


def test_a_start_that_judges_its_own_answers(home: Path) -> None:
    model = make_judging_model(home / "judging-model")
    pairs = {
        "by_itself": {"kind": "sampled", "num": 4, "temperature": 1.0, "label": "self", "strategy": "vanilla_norules"}
    }
    study = write_study(
        home,
        {"start": "base", "pairs": pairs, "methods": ["dpo"], "num_prompts": 24},
        name="judged",
        base_models=[str(model)],
        tiny_base=None,
        generation={"temperature": 1.0, "max_prompt_tokens": POSITIONS - 64, "max_model_len": POSITIONS},
    )
    storage = finished(home / "judged-runs", study)
    (labels,) = table(storage, "preference_labels", "judged")
    assert labels["label"] == "self by vanilla_norules"
    left_out = json.loads(str(labels["left_out"]))
    assert labels["num_rows"] and left_out, labels  # some pairs are told apart, others are a tie by their order
    assert int(str(labels["num_rows"])) + sum(left_out.values()) == 24
    (arm,) = table(storage, "preference_arms", "judged")
    assert (arm["judge_verdicts"], arm["start_verdicts"]) == (0, 24 * 4 * 3)
    assert "</html>" in (storage / "studies" / "judged" / "report.html").read_text()
