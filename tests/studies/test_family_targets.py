"""What "auto" means for bases whose layers have names of other families is part of the adapter's key, in `strict`."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.studies.artifacts import Base, study_artifacts
from assay.studies.builtin.paper import builtin
from assay.studies.cells import expand
from assay.training.targets import FAMILY_TARGETS, lora_targets


def adapters(kind: str, mode: str, folder: Path) -> tuple[object, str]:
    folder = folder / kind
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    study = builtin("s1").replace(mode=mode, base_models=("base",))
    keys = {name: f"{number:032x}" for number, name in enumerate(study.data.names)}
    bases = {"base": Base("base", "b" * 32, str(folder))}
    job = study_artifacts(study, expand(study)[:1], bases, keys).trainings[0]
    return job.spec.target_modules, job.key


@pytest.mark.parametrize("kind", ["phi", "codegen"])
def test_a_family_is_written_into_the_recipe_in_strict(kind: str, tmp_path: Path) -> None:
    """Phi's dense and CodeGen's out_proj got no adapter."""
    layers, key = adapters(kind, "strict", tmp_path)
    assert layers == tuple(sorted(FAMILY_TARGETS[kind]))
    assert adapters("llama", "strict", tmp_path) == ("auto", adapters("mistral", "strict", tmp_path)[1])
    assert key != adapters("llama", "strict", tmp_path)[1]
    assert adapters(kind, "compat", tmp_path) == adapters("llama", "compat", tmp_path)


def test_the_names_are_those_of_the_models() -> None:
    phi = [f"model.layers.0.{name}" for name in ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")]
    assert lora_targets(phi, FAMILY_TARGETS["phi"], "phi") == tuple(sorted(FAMILY_TARGETS["phi"]))
