"""Plug-ins bring training methods and designs: by a study's own name, with their code in the key, in every process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.plugins.finding import find_plugin
from assay.studies.builtin.paper import quickstart
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.registry import make_registry
from assay.studies.spec import Study
from assay.training.batching import MicroBatch, TrainRow
from assay.training.encoding import encoding_key
from assay.training.objectives.base import Objective
from assay.training.spec import TrainSpec, adapter_key
from support.dummy_objective import RightOverWrong

DUMMY = (Path(__file__).resolve().parents[1] / "support" / "dummy_objective.py").read_text()
PREFERENCE = str(Path(__file__).resolve().parents[2] / "jobs" / "studies" / "preference_small.yaml")
METHOD = DUMMY + '\n\ndef register(registry):\n    registry.add_objective("right_over_wrong", RightOverWrong)\n'
DESIGN = '''
from typing import Literal

from assay.metaeval.study_tables.frame import MANY
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.studies.designs.asked import task_set
from assay.studies.designs.cell import Condition
from assay.studies.designs.design import DesignBase, with_seeds


class Alone(DesignBase):
    """Each task's first rows, and nothing else."""

    design: Literal["alone"] = "alone"
    tasks: tuple[str, ...]
    rows: int = 8

    @property
    def trains_zero(self):
        return False

    def datasets(self, study):
        return self.tasks

    def evaluation_sets(self, study):
        return tuple(task_set(study, task) for task in self.tasks)

    def cells(self, study):
        for task in self.tasks:
            mixture = MixtureSpec(train=(ComponentSpec(name=task, dataset=task, count=self.rows),), mode=study.mode)
            yield from with_seeds(study, [Condition(task, self.rows, 0, mixture, f"{task} alone", (task,))])


def register(registry):
    registry.add_design("alone", Alone)
'''


def write(folder: Path, text: str, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(text)
    plain = quickstart().model_dump(mode="json", include={"data", "tiny_base", "base_models"})
    fields = {
        "name": "plugged",
        "plugins": ["mine"],
        "grid": {"tasks": ["toy_sentiment"], "sizes": [0, 8], "draws": 1, "validation_rows": 8},
        "scorers": ["exact_match"],
        "statistics": {"human": "exact_match"},
        **changes,
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**plain, **fields}))
    return path


def with_method(folder: Path, text: str = METHOD, objective: object = "right_over_wrong", **changes: Any) -> Study:
    return load_study(str(write(folder, text, train={"objective": objective}, **changes)))


def key(spec: TrainSpec) -> str:
    return adapter_key(spec, base_key="b", mixture_key="m")


def test_a_method_of_a_plugin_is_trained_by_with_its_code_and_settings_in_the_key(tmp_path: Path) -> None:
    made = with_method(tmp_path)
    recipe = next(cell.train for cell in expand(made) if cell.is_trained)
    assert recipe.objective.method == "right_over_wrong"
    assert recipe.objective.encoding()["answers"] == "right and wrong"
    assert recipe.objective.identity()["scale"] == 1.0
    assert made.identity()["plugins"] == {"mine": find_plugin("mine", tmp_path).identity}
    other = with_method(tmp_path, objective={"method": "right_over_wrong", "scale": 2.0})
    changed = with_method(tmp_path, METHOD + "\n# another line\n")
    assert len({key(study.train) for study in (made, other, changed)}) == 3
    assert encoding_key(made.train) == encoding_key(other.train) != encoding_key(changed.train)
    assert key(with_method(tmp_path).train) == key(made.train)


def test_it_survives_changes_elsewhere_and_is_stored_without_its_code(tmp_path: Path) -> None:
    made = with_method(tmp_path, objective={"method": "right_over_wrong", "scale": 2.0})
    assert key(made.replace(name="other").train) == key(made.train) == key(made.train.replace(lora_rank=8))
    plain = made.model_dump(mode="json")
    assert plain["train"]["objective"] == {"method": "right_over_wrong", "scale": 2.0}
    assert hash(made.train) == hash(with_method(tmp_path, objective=plain["train"]["objective"]).train)


def test_two_studies_of_one_process_mean_different_things_by_one_name(tmp_path: Path) -> None:
    first = with_method(tmp_path / "first")
    second = with_method(tmp_path / "second", METHOD.replace('{"answers": "right and wrong"}', '{"answers": "mine"}'))
    told = [study.train.objective.encoding()["answers"] for study in (first, second, first)]
    assert told == ["right and wrong", "mine", "right and wrong"]
    assert key(first.train) != key(second.train)


def test_a_worker_without_the_studys_folder_has_the_method(tmp_path: Path) -> None:
    made = with_method(tmp_path, objective={"method": "right_over_wrong", "scale": 3.0})
    sent = tmp_path / "sent.pickle"
    assert made.train.objective.encoding()  # made here already: what is sent is no class of this process
    sent.write_bytes(pickle.dumps(made.train))
    (tmp_path / "mine.py").unlink()
    code = (
        "import pickle, sys\n"
        "spec = pickle.load(open(sys.argv[1], 'rb')).replace(seed=3)\n"
        "print(spec.objective.made.scale, spec.objective.learns_from_pairs, spec.objective.encoding()['answers'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(sent)], capture_output=True, text=True, check=False, cwd="/", timeout=120
    )
    assert ended.stdout.split("\n")[0] == "3.0 False right and wrong", ended.stderr


def test_a_step_by_a_plugins_method_is_the_step_by_its_class(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    rows = tuple(TrainRow(np.arange(6, dtype=np.int32), 3, place) for place in range(2))
    none = np.zeros((1, 1), dtype=np.int64)

    def gradient(objective: Objective) -> Any:
        weights = torch.zeros(2, requires_grad=True)
        model: Any = SimpleNamespace(answer_log_probs=lambda batch: weights - 1.5)
        groups = objective.prepare([rows], lambda asked: np.array([-1.0, -2.0]))
        batch = MicroBatch(none, none, none, none, False, tuple(groups))
        (term,) = objective.loss(model, batch, 0.0).terms
        (term / objective.weights(batch)[0]).backward()
        return weights.grad

    plugged = with_method(tmp_path, objective={"method": "right_over_wrong", "scale": 2.0}).train.objective
    assert torch.equal(gradient(plugged), gradient(RightOverWrong(scale=2.0)))
    assert float(gradient(plugged)[0]) == pytest.approx(-6.0)  # 2 (D - 2), D = (-1.5 + 1) - (-1.5 + 2) = -1


def test_a_method_that_learns_from_pairs_is_compared_by_the_design_preference(tmp_path: Path) -> None:
    text = METHOD.replace("    method: Literal", "    learns_from_pairs: ClassVar[bool] = True\n    method: Literal")
    text = text.replace("import TYPE_CHECKING, ", "import TYPE_CHECKING, ClassVar, ")
    preference = load_study(PREFERENCE).model_dump(mode="json")
    preference["grid"] |= {
        "methods": ["dpo", "right_over_wrong"],
        "tuning": {"learning_rate": [1e-3, 2e-3], "beta": [0.1, 0.1]},
        "method_tuning": {"right_over_wrong": {"scale": [1.0, 2.0]}},
    }
    made = load_study(str(write(tmp_path, text, **{**preference, "plugins": ["mine"]})))
    recipes = {cell.arm: cell.train.objective for cell in expand(made) if cell.pairs is not None}
    own = [said.identity() for said in recipes.values() if said.method == "right_over_wrong"]
    assert sorted({said["scale"] for said in own}) == [1.0, 2.0]
    assert made.used_plugins.keys() == {"mine"}
    with pytest.raises(ConfigError, match="saw 'right_over_wrong'; expected some of"):
        load_study(str(write(tmp_path, METHOD, **{**preference, "plugins": ["mine"]})))


def test_a_design_of_a_plugin_says_the_cells(tmp_path: Path) -> None:
    grid = {"design": "alone", "tasks": ["toy_sentiment"], "rows": 6}
    made = load_study(str(write(tmp_path, DESIGN, grid=grid)))
    cells = expand(made)
    assert {(cell.arm, cell.num_target) for cell in cells} == {("toy_sentiment alone", 6)}
    assert made.used_plugins == {"mine": find_plugin("mine", tmp_path).identity}
    stored = made.model_dump(mode="json")
    assert stored["grid"]["rows"] == 6
    again = Study.model_validate({**stored, "study_folder": str(tmp_path)})
    assert fingerprint(again.identity()) == fingerprint(made.identity())
    assert [cell.mixture for cell in expand(made.replace(name="other"))] == [cell.mixture for cell in cells]
    other = load_study(str(write(tmp_path / "other", DESIGN.replace("count=self.rows", "count=4"), grid=grid)))
    counts = [[part.count for part in expand(study)[0].mixture.train] for study in (made, other, made)]
    assert counts == [[6], [4], [6]]
    assert fingerprint(other.identity()) != fingerprint(made.identity())


@pytest.mark.parametrize(
    ("text", "changes", "said"),
    [
        (METHOD, {"train": {"objective": {"method": "right_over_wrong", "scal": 1}}}, "unknown field 'scal'"),
        (METHOD, {"train": {"objective": "right_over_left"}}, "expected a method among sft"),
        (METHOD.replace('add_objective("right', 'add_objective("wrong'), {}, "saw the method 'right_over_wrong'"),
        ("def register(registry):\n    registry.add_objective('m', int)\n", {}, "expected a class derived from"),
        ("def register(registry):\n    registry.add_objective('dpo', int)\n", {}, "objective 'dpo': saw a second"),
        ("def register(registry):\n    registry.add_design('d', int)\n", {}, "expected a class derived from"),
        ("def register(registry):\n    registry.add_design('target', int)\n", {}, "design 'target': saw a second"),
        (DESIGN, {"grid": {"design": "alone", "tasks": ["toy_sentiment"], "row": 1}}, "unknown field 'row'"),
        (DESIGN, {"grid": {"design": "unknown"}}, "grid"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, text: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        load_study(str(write(tmp_path, text, **changes)))
    assert "\n" not in str(error.value)


def test_a_registry_with_methods_and_designs_is_a_value(tmp_path: Path) -> None:
    made = with_method(tmp_path)
    assert "right_over_wrong" in made.registry.objectives.names
    assert pickle.loads(pickle.dumps(made.registry.objectives)) == made.registry.objectives
    assert make_registry({}).objectives != made.registry.objectives
