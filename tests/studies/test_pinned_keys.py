"""Keys of stored artifacts stay: a refactoring that moves one loses everybody's finished trainings.

`pinned_keys.json` was written before modules moved. A change of a result raises a schema version and rewrites the file
in the same commit: `ASSAY_PIN_KEYS=1 pytest tests/studies/test_pinned_keys.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from assay.fingerprint import fingerprint
from assay.ifs.objecqa_labels import SAMPLE, ObjecqaLabels
from assay.ifs.trial_spec import evaluation_keys
from assay.llm.endpoint import EndpointSpec
from assay.model_folders import find_model
from assay.scoring.jobs import judge_spec, make_batches, scores_key
from assay.scoring.judges.protocols.labelers import objecqa_labeler
from assay.studies.artifacts import Base, evaluation_sets, study_artifacts
from assay.studies.builtin.paper import BUILTIN
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.ifs_models.builtin import IFS_STUDIES
from assay.studies.inputs import study_key
from assay.studies.preferences.inputs import preference_inputs
from assay.studies.scores import scorer_specs
from assay.studies.spec import Study
from assay.studies.tiny_bases import tiny_base_key
from assay.tasks.datasets.loaders import dataset_key
from assay.tone.artifact import TOY_TONE, tone_key
from support.marked import marked

PINNED = Path(__file__).with_name("pinned_keys.json")
STUDY_FILES = sorted((Path(__file__).resolve().parents[2] / "jobs" / "studies").glob("*_small.yaml"))
REFERENCES = (*sorted(BUILTIN), *(str(path) for path in STUDY_FILES))


def keys_of(study: Study) -> dict[str, str]:
    """The study's key, and of each kind of artifact the first that it wants, over inputs of invented content."""
    datasets = {
        name: f"{number:032x}" for number, name in enumerate([*sorted(study.data.sources), *sorted(study.used.derived)])
    }
    bases = {name: Base(name, f"{number:032x}", "/base") for number, name in enumerate(study.all_models)}
    identity = fingerprint(study.identity())
    is_toy = study.ifs is None or {study.ifs.prompts.loader, study.ifs.tone.source.loader} == {"toy"}
    if not is_toy:
        study = study.replace(ifs=None)  # its files lie on a hub
    preferences = preference_inputs(study, EndpointSpec(name="judge", model="rubric", base_url="http://127.0.0.1:1/v1"))
    made = study_artifacts(study, expand(study), bases, datasets, preferences)
    keys = {
        "study": identity,
        "mixtures": next(iter(made.mixtures)),
        "adapter": made.trainings[0].key,
        "last adapter": made.trainings[-1].key,
        "predictions": made.generations[0].key,
        "evaluation": next(iter(evaluation_sets(study, datasets).values())).key,
        "num_trainings": str(len(made.trainings)),
    }
    if is_toy and not study.scorer_params:  # else files and models of a hub are part of the key
        keys["study over inputs"] = study_key(
            study, datasets, {name: base.key for name, base in bases.items()}, "judge"
        )
    if made.merged:
        keys["merged base"] = made.merged[0].key
    if made.pairs:
        keys["pairs"] = made.pairs[0].key
    if made.stacked:
        keys["stacked adapter"] = next(iter(made.stacked.values())).key
    if study.tiny_base is not None:
        keys["tiny base"] = tiny_base_key(study.tiny_base, "d" * 32)
    if study.ifs is not None:
        keys |= {f"inside trials, stops={stops}": key for stops, key in evaluation_keys(study.ifs, None).items()}
    batch = make_batches([("p" * 32, "e" * 32)])[0]
    named = scorer_specs(study)
    keys |= {f"scores {spec.name}": scores_key(spec, batch) for spec in named if "model" not in spec.params}
    return keys


def current_keys() -> dict[str, dict[str, str]]:
    """Of every builtin study and small study file, in both modes where it is a builtin."""
    found = {Path(reference).stem: keys_of(load_study(reference)) for reference in REFERENCES}
    compat = [name for name in sorted(BUILTIN) if "early" not in name]
    found |= {f"{name} (compat)": keys_of(load_study(name, ["mode=compat"])) for name in compat}
    found["artifacts"] = {
        "toy base": find_model("toy", "base model").key,
        "dataset": dataset_key(load_study("quickstart").data.sources["instructions"], None),
        "tone": tone_key(TOY_TONE.spec, "d" * 32),
        "objecqa": objecqa_key(),
    }
    found["marks"] = {name: fingerprint(value) for name, value in marked().items()}
    found["ifs studies"] = {
        name: json.dumps(make().identity(), sort_keys=True)[:80] for name, make in IFS_STUDIES.items()
    }
    return found


def objecqa_key() -> str:
    """Key of the judge's labels of the labelled sample."""
    endpoint = EndpointSpec(name="judge", model="rubric", base_url="http://127.0.0.1:1/v1")
    return ObjecqaLabels(judge_spec("judge", objecqa_labeler("strict"), endpoint), ()).key(SAMPLE)


def test_keys_of_stored_artifacts_stay() -> None:
    found = current_keys()
    if os.environ.get("ASSAY_PIN_KEYS"):
        PINNED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    assert {name: found[name] for name in pinned} == pinned


def test_another_result_has_another_key() -> None:
    study = load_study("quickstart")
    other = study.replace(train=study.train.replace(learning_rate=1e-5))
    one, two = keys_of(study), keys_of(other)
    changed = {name for name in one if one[name] != two[name]}
    assert {"study", "study over inputs", "adapter", "predictions"} <= changed
    assert not {"mixtures", "evaluation", "tiny base"} & changed


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: Path(reference).stem)
def test_every_study_is_pinned(reference: str) -> None:
    assert Path(reference).stem in json.loads(PINNED.read_text(encoding="utf-8"))
