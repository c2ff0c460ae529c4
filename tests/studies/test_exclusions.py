"""N is N: rows that are too long for a base leave the pools before anything is drawn, and plan and report say so."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from assay.commands.plan import plan_command
from assay.commands.study import embedded_judge
from assay.errors import InputError
from assay.hooks import SilentProgress
from assay.mixtures.sampling import MixtureBuilder
from assay.records import MixtureRow, from_table
from assay.store import Store
from assay.studies.builtin.paper import quickstart
from assay.studies.exclusions import count_missing, exclusions_of, training_limit
from assay.studies.inputs import store_datasets
from assay.studies.lengths import count_lengths, tokenizer_key
from assay.studies.pipeline import Pipeline
from assay.studies.prepared import prepare_study
from assay.studies.running.engines import Engines
from assay.studies.spec import Study
from assay.tasks.templates import PromptSpec
from support.tiny_models import make_examples, make_tokenizer

LIMIT, WORDS = 40, 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that has a tokenizer and no weights to speak of, and two data files with a third of long rows."""
    made = tmp_path_factory.mktemp("made")
    base = made / "base"
    make_tokenizer().save_pretrained(base)
    (base / "config.json").write_text('{"model_type": "llama"}')
    (base / "model.safetensors").write_bytes(b"")
    for name, instruction in (("instructions", "w1"), ("sst2", None)):
        lines = []
        for number in range(300):
            words = WORDS if number % 3 == 0 else 3
            text = " ".join(f"w{(number * 7 + k * k) % 240}" for k in range(words)) + f" {number}"
            split = "train" if number < 240 else "validation" if number < 270 else "test"
            row = {"id": f"{name}{number}", "input": text, "output": "w2", "split": split}
            lines.append(json.dumps(row | ({"instruction": instruction} if instruction else {})))
        (made / f"{name}.jsonl").write_text("\n".join(lines))
    return made


def study(folder: Path, **more: Any) -> Study:
    plain = quickstart().model_dump(mode="json")
    sources = {
        "instructions": {"loader": "jsonl", "path": "instructions.jsonl"},
        "sst2": {"loader": "jsonl", "path": "sst2.jsonl", "task": "sst2"},
    }
    fields = {
        "data": {"root": str(folder), "sources": sources},
        "base_models": [str(folder / "base")],
        "grid": {"tasks": ["sst2"], "sizes": [0, 10, 100], "draws": 1, "instruction_rows": 50, "validation_rows": 5},
        "train": {"max_length": LIMIT},
        "generation": {"max_prompt_tokens": 48, "max_model_len": 96},
        "evaluation": {
            "target_rows": 20,
            "instruction_rows": 10,
            "instruction_max_new_tokens": 8,
            "max_new_tokens": {"sst2": 8},
        },
        "scorers": ["exact_match"],
        "statistics": {"human": "exact_match", "resamples": 200},
        **more,
    }
    return Study.model_validate({**plain, **fields})


class UpToMixtures(Engines):
    """Ends where trainings would begin."""

    def join(self, stack: ExitStack) -> None:
        """No cluster."""

    def train(self, *_: Any) -> None:
        """No training."""


def run(made: Study, store: Store) -> Pipeline:
    pipeline = Pipeline(made, store, SilentProgress(), embedded_judge(), make_engines=UpToMixtures)
    assert pipeline.run(pipeline.open(), until="train") is None
    return pipeline


def test_n_rows_are_n_trained_rows_and_draws_stay_nested(folder: Path, tmp_path: Path) -> None:
    """Of 1,000 XSum rows in a mixture 572 were trained."""
    store = Store(str(tmp_path / "runs"))
    pipeline = run(study(folder), store)
    lengths = pipeline.prepared.counts.lengths[str(folder / "base"), "sst2"]
    tokens = dict(zip(lengths.example_ids, lengths.tokens, strict=True))
    drawn = {}
    for key, spec in pipeline.prepared.artifacts.mixtures.items():
        rows = from_table(store.read_table("mixture", key, "train.parquet"), MixtureRow)
        counted = Counter(row.component for row in rows)
        wanted = next((part.count for part in spec.train if part.dataset == "sst2"), 0)
        drawn[wanted] = {row.example_id for row in rows if row.component == "sst2"}
        assert (counted["sst2"], counted["instructions"]) == (wanted, 50)
        assert all(tokens.get(row.example_id, 0) <= LIMIT for row in rows)
    assert drawn.keys() == {0, 10, 100}
    assert drawn[10] < drawn[100]
    figures = {row.dataset: row for row in _kept(store, pipeline)}
    row = figures["sst2"]
    assert (row["asked"], row["trained"], row["left_out"], row["prompts"], row["prompts_cut"]) == (100, 100, 80, 20, 7)
    assert "base" in row["base_model"] and "/" not in row["base_model"]


class _Row(dict[str, Any]):
    @property
    def dataset(self) -> str:
        return str(self["dataset"])


def _kept(store: Store, pipeline: Pipeline) -> list[_Row]:
    kept = store.read_study_json(pipeline.open().name, "side/rows.json")
    return [_Row(row) for row in kept["rows"]]


def test_compat_drops_as_published_and_says_how_many(folder: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "runs"))
    pipeline = run(study(folder, mode="compat"), store)
    assert pipeline.prepared.exclusions.names == {}
    row = next(row for row in _kept(store, pipeline) if row.dataset == "sst2")
    assert row["asked"] == 100
    assert 50 < row["trained"] < 80  # a third of the pool is too long
    assert f"of 100 trained, {row['prompts_cut']} of 20 prompts cut" in pipeline.costs.notes["lengths"]


def test_counts_are_remembered_and_keys_say_nothing_where_no_row_is_excluded(folder: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "runs"))
    made = study(folder)
    before = prepare_study(made, "judge", store)
    assert not before.counts.is_whole
    datasets = store_datasets(made, store, before.datasets)
    assert count_missing(made, store, before.counts, before.bases, datasets.rows, SilentProgress()) == 600
    after = prepare_study(made, "judge", store)
    assert after.counts.is_whole
    assert set(after.artifacts.mixtures) != set(before.artifacts.mixtures)
    roomy = made.replace(train=made.train.replace(max_length=200))
    bare, known = prepare_study(roomy, "judge"), prepare_study(roomy, "judge", store)
    assert known.counts.is_whole
    assert known.exclusions.names == {}
    assert set(known.artifacts.mixtures) == set(bare.artifacts.mixtures)
    assert [job.key for job in known.artifacts.trainings] == [job.key for job in bare.artifacts.trainings]


def test_a_row_too_long_for_any_base_leaves_for_all(folder: Path, tmp_path: Path) -> None:
    made = study(folder)
    examples = make_examples(6)
    plain = count_lengths(examples, make_tokenizer(), PromptSpec(), PromptSpec())
    plain = dataclasses.replace(plain, splits=["train"] * 6, tokens=[LIMIT] * 6)
    longer = dataclasses.replace(plain, tokens=[LIMIT + 1, *plain.tokens[1:]])
    counts = prepare_study(made, "judge", Store(str(tmp_path))).counts
    counts = dataclasses.replace(counts, lengths={("a", "sst2"): plain, ("b", "sst2"): longer}, missing={})
    found = exclusions_of(made, counts)
    (reasons,) = found.reasons.values()
    assert reasons == {examples[0].example_id: f"over {LIMIT} tokens"}
    assert training_limit(made) == LIMIT


def test_a_row_without_a_prompt_leaves_the_pool_and_is_counted(folder: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    first, second = make_examples(2)
    second = dataclasses.replace(second, history_json='[["system", "w1"]]')
    chat = PromptSpec(style="chat")
    lengths = count_lengths([first, second], tokenizer, chat, chat)
    assert lengths.errors == ["", "no prompt: no system role"]
    assert lengths.tokens[1] == 0


def test_a_tokenizer_is_known_by_its_files(folder: Path, tmp_path: Path) -> None:
    key = tokenizer_key(folder / "base")
    assert key is not None
    make_tokenizer().save_pretrained(tmp_path)
    assert tokenizer_key(tmp_path) == key  # weights and configuration play no part
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert tokenizer_key(tmp_path) != key
    (tmp_path / "none").mkdir()
    assert tokenizer_key(tmp_path / "none") is None


def test_a_plan_says_what_was_counted_and_what_was_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = study(folder)
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(made.model_dump(mode="json")))
    plan_command(str(path), [], False, None, str(tmp_path / "nowhere"))
    assert "not counted yet: at most the training rows above; a run first leaves out rows over 40 tokens" in (
        capsys.readouterr().out
    )
    run(made, Store(str(tmp_path / "runs")))
    plan_command(str(path), [], False, None, str(tmp_path / "runs"))
    told = capsys.readouterr().out
    assert "rows of sst2, base: 100 trained of 100 asked, 80 of the training split cannot be trained on" in told
    assert "7 of 20 test prompts cut" in told
    plan_command(str(path), ["grid.sizes=[0, 20]"], True, None, str(tmp_path / "runs"))  # counted, not yet run
    rows = {row["dataset"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert (rows["sst2"]["asked"], rows["sst2"]["trained"], rows["sst2"]["left_out"]) == (20, 20, 80)


def test_the_study_is_expanded_anew_only_where_other_rows_leave_the_pools(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting prepared the whole study up to three times."""
    from assay.studies.running import opened as module

    calls = []

    def counted(*args: Any) -> Any:
        calls.append(1)
        return prepare_study(*args)

    monkeypatch.setattr(module, "prepare_study", counted)
    store = Store(str(tmp_path / "runs"))
    pipeline = run(study(folder), store)
    assert len(calls) == 1
    assert pipeline.prepared.counts.is_whole
    assert (
        pipeline.prepared.artifacts.mixtures
        == prepare_study(study(folder), embedded_judge().name, store).artifacts.mixtures
    )


def test_prompts_are_cut_at_the_bases_own_positions_and_longer_rows_are_told(folder: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    shutil.copytree(folder / "base", short)
    (short / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 32}')
    made = study(folder, base_models=[str(folder / "base"), str(short)])
    made = made.replace(
        train=made.train.replace(max_length=100), generation=made.generation.replace(max_prompt_tokens=85)
    )
    store = Store(str(tmp_path / "runs"))
    pipeline = run(made, store)
    rows = {row["base_model"]: row for row in _kept(store, pipeline) if row.dataset == "sst2"}
    assert (rows["base"]["prompts_cut"], rows["short"]["prompts_cut"]) == (0, 7)
    assert (rows["base"]["over_positions"], rows["short"]["over_positions"]) == (0, 80)
    assert "80 training rows longer than the base's own positions" in pipeline.costs.notes["lengths"]


def test_a_base_without_a_chat_template_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = study(folder)
    made = made.replace(train=made.train.replace(prompt=PromptSpec(style="chat")))
    pipeline = run(made, Store(str(tmp_path / "runs")))
    told = "base has no chat template: its prompts have the headings of alpaca"
    assert told in pipeline.costs.notes["lengths"]
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(made.model_dump(mode="json")))
    plan_command(str(path), [], False, None, str(tmp_path / "nowhere"))
    assert told in capsys.readouterr().out


def test_a_plan_says_which_bases_a_run_would_refuse(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder was planned as a base without a chat template, a missing one without a word."""
    (tmp_path / "empty").mkdir()
    made = study(folder, base_models=[str(tmp_path / "empty"), str(tmp_path / "gone")])
    made = made.replace(train=made.train.replace(prompt=PromptSpec(style="chat")))
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(made.model_dump(mode="json")))
    plan_command(str(path), [], False, None, str(tmp_path / "nowhere"))
    said = capsys.readouterr().out
    assert f"a run refuses        base model {tmp_path}/empty: saw no config.json" in said
    assert f"a run refuses        base model {tmp_path}/gone: saw no such folder on this machine" in said
    assert "chat template" not in said


def test_a_mixture_that_leaves_rows_out_is_built_through_its_study(folder: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "runs"))
    prepared = run(study(folder), store).prepared
    spec = next(iter(prepared.artifacts.mixtures.values()))
    datasets = store_datasets(prepared.study, store, prepared.datasets)
    with pytest.raises(InputError, match="nobody counted here"):
        MixtureBuilder(datasets.by_name(), prepared.datasets).build(spec)
