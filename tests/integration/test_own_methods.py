"""A training method of somebody's own, a plug-in beside the study file, through Ray Tune and DeepSpeed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from assay.plugins.finding import find_plugin
from assay.store import Store
from assay.training.references import REFERENCE_KIND
from assay.training.spec import ADAPTER_KIND
from support.tiny_study import TINY, artifact_files, assay, settings

pytestmark = pytest.mark.slow
METHOD = (Path(__file__).parents[1] / "support" / "dummy_objective.py").read_text() + (
    '\n\ndef register(registry):\n    registry.add_objective("right_over_wrong", RightOverWrong)\n'
)
TRAINED = {
    "base_models": "[toy]",
    "grid.tasks": "[toy_arithmetic]",
    "grid.draws": "1",
    "training_seeds": "[0]",
    "training_seeds_at_zero": "[0]",
    "train.objective": "right_over_wrong",
}


def train(folder: Path, storage: Path, method: str) -> list[str]:
    """Sorted keys of the adapters that the store holds after this text of the plug-in trained."""
    (folder / "mine.py").write_text(method)
    (folder / "own.yaml").write_text(yaml.safe_dump({"extends": "quickstart", "plugins": ["mine"]}))
    fields = settings(TRAINED, {name: value for name, value in TINY.items() if name != "tiny_base"})
    ended = assay("run", str(folder / "own.yaml"), "--until", "train", "--storage", str(storage), *fields)
    assert ended.code == 0, ended.err
    return sorted(Store(str(storage)).keys(ADAPTER_KIND))


def test_a_plugins_method_trains_is_found_again_and_is_another_when_its_code_is(tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    keys = train(tmp_path, storage, METHOD)
    assert len(keys) == 2  # without rows of the task, and with 8
    store = Store(str(storage))
    for key in keys:
        said = store.manifest(ADAPTER_KIND, key)["spec"]["train"]["objective"]
        assert (said["method"], said["scale"]) == ("right_over_wrong", 1.0)
        assert said["plugin"] == find_plugin("mine", tmp_path).identity
        steps = store.read_table(ADAPTER_KIND, key, "history.parquet").to_pylist()
        watched = [json.loads(row["hooks_json"])["objective/margin"] for row in steps if row["hooks_json"]]
        # the reference is the base itself: both answers' log-ratios are zero before the first step, and then move
        assert steps[0]["loss"] == pytest.approx(1.0, abs=1e-3)
        assert watched[0] == pytest.approx(0.0, abs=1e-3)
        assert watched[1] > 0.1
    assert list(store.keys(REFERENCE_KIND))

    files = artifact_files(storage, (ADAPTER_KIND,))
    assert train(tmp_path, storage, METHOD) == keys
    assert artifact_files(storage, (ADAPTER_KIND,)) == files
    assert len(train(tmp_path, storage, METHOD.replace("scale: float = 1.0", "scale: float = 2.0"))) == 4
