"""IFS inside a trial: what the hook records, when it stops, and that a resumed trial has the same curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assay.errors import DataError
from assay.hooks import RecordingHook
from assay.ifs.prompts import ifs_prompts
from assay.ifs.trial_hook import IFS_FILE, OBJECQA_FILE, IfsHook, IfsHooks, prompt_set
from assay.ifs.trial_spec import TrialIfsSpec, evaluation_keys
from assay.metaeval.statistics.ifs_stopping import StoppingRule
from assay.store import Store
from assay.studies.builtin.paper import early_stopping_small
from assay.studies.inside_trials import prepare_inside
from assay.tasks.datasets.loaders import materialise_dataset
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.toyworld.world import toy_instruction_examples
from assay.tone.artifact import ToneConfig
from assay.tone.model import Counted, ToneSpec
from assay.tone.texts import dialogues_of
from assay.training.spec import TrainingJob, TrainSpec, adapter_key

SPEC = TrialIfsSpec(
    every_steps=2, num_prompts=40, objecqa="toy", rule=StoppingRule(window=2, max_gain=0.2, threshold=0.5)
)


class SaysAnswer:
    """A tone model that calls answer-like what begins with "Answer"."""

    spec = ToneSpec()
    sensitivity = specificity = Counted(99, 100)

    def answer_like(self, texts: Sequence[str]) -> list[bool]:
        return [text.startswith("Answer") for text in texts]


class Model:
    """Answers so many of its prompts and continues the others."""

    def __init__(self) -> None:
        self.num_answered = 0
        self.calls: list[tuple[int, int]] = []

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        self.calls.append((len(prompts), max_new_tokens))
        return [f"{'Answer' if at < self.num_answered else 'and'} {at} " for at in range(len(prompts))]


def hook_of(*, stops: bool = True) -> IfsHook:
    prompts = ifs_prompts(dialogues_of(toy_instruction_examples({"test": 60}, 7)), SPEC.num_prompts, 0)
    return IfsHook(SPEC, prompts, SaysAnswer(), stops=stops)  # type: ignore[arg-type]


def run(hook: IfsHook, model: Model, answered: Sequence[int], first_step: int = 2) -> list[dict[str, float]]:
    found = []
    for at, count in enumerate(answered):
        model.num_answered = count
        found.append(dict(hook(model.generate, first_step + 2 * at)))
    return found


def test_the_untrained_model_is_evaluated_and_the_rule_stops_on_the_plateau(tmp_path: Path) -> None:
    hook, model = hook_of(), Model()
    assert isinstance(hook, RecordingHook)
    hook.begin(model.generate, None)
    metrics = run(hook, model, [20, 38, 40, 40])
    assert [row["ifs"] for row in metrics] == [0.5, 0.95, 1.0, 1.0]
    assert [row["stop"] for row in metrics] == [0.0, 0.0, 0.0, 1.0]
    assert "gain" not in metrics[0]
    assert model.calls[:2] == [(40, SPEC.max_new_tokens), (100, SPEC.objecqa_max_new_tokens)]
    hook.write(tmp_path)
    rows = pq.read_table(tmp_path / IFS_FILE).to_pylist()
    assert len(rows) == 5 * 40
    assert {row["step"] for row in rows} == {0, 2, 4, 6, 8}
    assert sum(row["answer_like"] for row in rows if row["step"] == 4) == 38
    assert sum(row["is_partial"] for row in rows if row["step"] == 0) == 20
    answers = pq.read_table(tmp_path / OBJECQA_FILE).to_pylist()
    assert len(answers) == 5 * 100
    assert answers[-1]["answer"] == "and 99"


def test_a_full_run_is_told_that_the_rule_holds_and_goes_on() -> None:
    hook, model = hook_of(stops=False), Model()
    hook.begin(model.generate, None)
    metrics = run(hook, model, [38, 40, 40, 40])
    assert [row["infused"] for row in metrics] == [0.0, 0.0, 1.0, 1.0]
    assert not any(row["stop"] for row in metrics)


def test_a_resumed_trial_has_the_curve_of_one_that_was_never_stopped() -> None:
    whole, model = hook_of(), Model()
    whole.begin(model.generate, None)
    expected = run(whole, model, [20, 38, 40, 40])
    first = hook_of()
    model.num_answered = 0
    first.begin(model.generate, None)
    run(first, model, [20, 38])
    resumed = hook_of()
    resumed.begin(model.generate, json.loads(json.dumps(first.state())))
    assert run(resumed, model, [40, 40], first_step=6) == expected[2:]
    assert resumed.ifs_table().equals(whole.ifs_table())
    assert resumed.objecqa_table().equals(whole.objecqa_table())


def test_a_study_prepares_its_hooks_once_and_a_worker_makes_them_by_key(tmp_path: Path) -> None:
    study = early_stopping_small()
    assert study.ifs is not None
    dialogues = SourceSpec(loader="toyworld", num_train=360, num_validation=0, num_test=120)
    small = study.replace(ifs=study.ifs.replace(num_prompts=20, tone=ToneConfig(source=dialogues)))
    store = Store(str(tmp_path))
    inside = prepare_inside(small, store)
    assert inside is not None and small.ifs is not None
    keys = evaluation_keys(small.ifs, None)
    assert keys[True] != keys[False]
    for stops, key in keys.items():
        job = TrainingJob("a", "b", "/b", "m", TrainSpec(), evaluation_key=key)
        (hook,) = inside.hooks(job)
        assert isinstance(hook, IfsHook)
        assert hook._stops is stops
    assert inside.hooks(TrainingJob("a", "b", "/b", "m", TrainSpec())) == ()
    model = hook._tone
    assert model.sensitivity.rate + model.specificity.rate > 1.5
    assert prepare_inside(small, store) == inside


def test_evaluation_is_part_of_the_adapters_identity() -> None:
    plain = adapter_key(TrainSpec(), base_key="b", mixture_key="m")
    keys = {adapter_key(TrainSpec(), base_key="b", mixture_key="m", evaluation_key=key)
            for key in evaluation_keys(SPEC, None).values()}  # fmt: skip
    assert len({plain, *keys}) == 3
    other = evaluation_keys(SPEC.replace(rule=SPEC.rule.replace(window=3)), None)
    assert not keys & set(other.values())


def test_too_few_prompts_are_refused_before_training(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    spec = SPEC.replace(num_prompts=10_000)
    with pytest.raises(DataError, match="10,000"):
        prompt_set(store, spec, materialise_dataset(store, spec.prompts, None).key)
    assert isinstance(IfsHooks(store, spec, "t", "p"), IfsHooks)
