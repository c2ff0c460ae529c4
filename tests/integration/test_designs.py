"""Designs beyond the target grid through the real engines: starting points of S2, and a search over weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from assay.commands.study import embedded_judge
from assay.metaeval.statistics.clustered import GIVEN_MODELS, ITEMS_ONLY
from assay.records import Prediction, from_table
from assay.store import Store
from assay.studies.builtin.paper import quickstart
from assay.studies.inputs import Datasets
from assay.studies.prepared import prepare_study
from assay.studies.spec import Study
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.templates import render_prompt
from support.exported_answers import both_ways
from support.tiny_study import PATIENCE_S, TINY, artifact_files, assay, settings, table

pytestmark = [pytest.mark.timeout(3 * PATIENCE_S), pytest.mark.slow]
BASE = {name: value for name, value in TINY.items() if not name.startswith("grid.")}


def grid(**fields: object) -> dict[str, str]:
    return {"grid": json.dumps(fields)}


@pytest.mark.study
def test_s2_starts_from_the_base_and_from_both_forms_of_the_tuned_one(tmp_path: Path) -> None:
    design = grid(
        design="transfer",
        tasks=["toy_sentiment"],
        sizes=[0, 8],
        draws=1,
        starts=["base", "merged", "stacked"],
        instruction_rows=40,
        instruction_validation_rows=8,
        validation_rows=8,
    )
    changes = {**design, "training_seeds_at_zero": "[]", "error_rows": "5"}
    arguments = ["run", "quickstart", "--storage", str(tmp_path), *settings(changes, BASE)]
    ended = assay(*arguments)
    assert ended.code == 0, ended.err
    adapters = list((tmp_path / "artifacts" / "adapter").iterdir())
    assert len(adapters) == 1 + 3 + 1  # the tuning, one of each start, and the stack of the last
    assert len(list((tmp_path / "artifacts" / "base").iterdir())) == 2  # tiny, and tiny with the tuning written into it
    means = {
        (row["series"], row["num_target"], row["scorer"]): row["mean"]
        for row in table(tmp_path, "curves")
        if row["task"]
    }
    scorers = {scorer for _, _, scorer in means}
    for scorer in scorers:  # in float32 both forms of the tuned model are the same sum of weights
        merged, stacked = (means[f"our IFT, {form}", 0, scorer] for form in ("merged", "stacked"))
        assert merged == pytest.approx(stacked, abs=0.1)  # rounding may turn one near tie of a base that knows nothing
    assert {series for series, _, _ in means} == {"base", "our IFT, merged", "our IFT, stacked"}
    assert {(row["series"], row["against"]) for row in table(tmp_path, "series")} >= {("base", "our IFT, merged")}
    errors = json.loads((tmp_path / "studies" / "tiny" / "side" / "report.json").read_text())["errors"]
    assert [part["task"] for part in errors] == ["toy_sentiment"]
    assert errors[0]["text"].startswith("By rules:")
    before = artifact_files(tmp_path)
    again = assay(*arguments)
    assert "nothing to do" in again.out
    assert artifact_files(tmp_path) == before


@pytest.mark.study
def test_a_search_tries_weights_and_leaves_a_study_of_all_points(tmp_path: Path) -> None:
    design = grid(design="weights", tasks=["toy_sentiment", "toy_arithmetic"], total=40, validation_rows=8)
    changes = {**design, "training_seeds_at_zero": "[0]"}
    arguments = ["search", "quickstart", "--trials", "3", "--batch", "2", "--storage", str(tmp_path)]
    ended = assay(*arguments, *settings(changes, BASE))
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "studies" / "tiny" / "side" / "search.json").read_text())
    assert len(found["trials"]) == 3
    arms = {row["arm"] for row in table(tmp_path, "leaderboard")}
    assert {trial["arm"] for trial in found["trials"]} | {"instructions only"} == arms
    feasible = [trial for trial in found["trials"] if trial["is_feasible"]]
    assert (found["best"] is None) == (not feasible)


@pytest.fixture(scope="module")
def mixture_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage of a mixture study, searched once for all tests here."""
    storage = tmp_path_factory.mktemp("mixture")
    changes = {
        **grid(
            design="mixture",
            components={"instructions": {}, "toy_sentiment": {"max_repeats": 2}, "toy_arithmetic": {}},
            total={"tokens": 900},
            points=[{"name": "house", "instructions": 2, "toy_sentiment": 1, "toy_arithmetic": 1}],
            space={"num": 2, "bounds": {"instructions": [0.1, 0.9]}},
            baseline="house",
            validation_rows=9,
        ),
        "evaluation.sets": json.dumps(
            {
                "toy_sentiment": {"rows": 12},
                "toy_arithmetic": {"rows": 12, "weight": 2},
                "instructions": {"rows": 12, "purpose": "forgetting"},
            }
        ),
        "goal": json.dumps({"scorer": "exact_match", "constraint": {"forgetting": 0.5}}),
        "generation.dtype": "float32",
        "train.dtype": "float32",
    }
    arguments = ["search", "quickstart", "--trials", "2", "--batch", "2", "--storage", str(storage)]
    ended = assay(*arguments, *settings(changes, BASE))
    assert ended.code == 0, ended.err
    return storage


def test_a_mixture_study_by_its_bases_own_tokens_is_searched_and_leaves_its_report(mixture_runs: Path) -> None:
    folder = mixture_runs / "studies" / "tiny"
    found = json.loads((folder / "side" / "search.json").read_text())
    arms = {row["arm"] for row in table(mixture_runs, "objective")}
    assert arms == {"house", "natural", "uniform", *(trial["arm"] for trial in found["trials"])}
    for row in table(mixture_runs, "shares"):
        if row["asked"] is not None:  # shares are of tokens; rows of the three datasets have about as many
            assert abs(row["share"] - row["asked"]) < 0.35
    assert all(0.1 - 1e-5 <= trial["weights"]["instructions"] <= 0.9 + 1e-5 for trial in found["trials"])
    page = (folder / "report.html").read_text()
    assert "Which shares make the best model" in page
    assert 'aria-label="The objective by exact_match over the shares' in page


def test_an_arm_of_a_mixture_study_answers_the_same_through_peft_and_plain_vllm(
    mixture_runs: Path, tmp_path: Path
) -> None:
    winner = tmp_path / "winner"
    ended = assay("export", "tiny", "--arm", "house", "--out", str(winner), "--storage", str(mixture_runs))
    assert ended.code == 0, ended.err
    store = Store(str(mixture_runs))
    study = Study.model_validate(store.read_study_json("tiny", "study.json")["study"])
    assert (study.generation.dtype, study.generation.temperature) == ("float32", 0.0)
    prepared = prepare_study(study, embedded_judge().name, store)
    runs = [run for run in prepared.artifacts.runs if run.arm == "house" and run.evaluation_set != "instructions"]
    first = min((run.draw, run.training_seed) for run in runs)
    runs = [run for run in runs if (run.draw, run.training_seed) == first]
    datasets = Datasets(store, prepared.datasets)
    prompts, said = [], []
    for run in runs:
        answers = from_table(store.read_table("predictions", run.predictions_key, "predictions.parquet"), Prediction)
        by_id = {row.example_id: row for row in answers}
        examples = datasets.evaluation_rows(prepared.sets[run.evaluation_set])
        prompts += [render_prompt(example, study.generation.prompt) for example in examples]
        said += [by_id[example.example_id] for example in examples]
    limits = {prepared.sets[run.evaluation_set].max_new_tokens for run in runs}
    assert len(prompts) == 24
    by_peft, by_vllm, texts = both_ways(winner, prompts, max(limits))
    assert by_peft == by_vllm
    cut = {row.finish_reason for row in said}
    assert cut <= {"stop", "length"}
    for row, ids, text in zip(said, by_peft, texts, strict=True):
        if row.finish_reason == "stop":
            assert (row.prediction, row.num_tokens) == (text.strip(), len(ids))
        else:  # a set's own limit may be lower
            assert text.startswith(row.prediction)


@pytest.mark.study
def test_arms_of_a_mixture_study_and_their_base_are_ranked_as_they_are_by_one_command(
    mixture_runs: Path, tmp_path: Path
) -> None:
    folders = {}
    for name in ("house", "uniform"):
        folders[name] = tmp_path / name
        ended = assay("export", "tiny", "--arm", name, "--out", str(folders[name]), "--storage", str(mixture_runs))
        assert ended.code == 0, ended.err
    base = folders["house"] / "base"
    given = [
        {"name": "base", "model": str(base)},
        *({"name": name, "model": str(base), "adapter": str(folder)} for name, folder in folders.items()),
        {"name": "parrot", "answers": "parrot.jsonl"},
    ]
    storage = tmp_path / "runs"
    models = [word for part in given[:3] for word in ("--model", _reference(part))]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "Say hello.", "system": "Be kind."}) + "\n")
    out = tmp_path / "answers.jsonl"
    asked = ["--prompts", str(prompts), "--out", str(out), "--max-new-tokens", "6", "--max-model-len", "128"]
    ended = assay("generate", *models, *asked, "--storage", str(storage))
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["model"] for row in rows] == ["base", "house", "uniform"]
    assert all(row["question"] == "system: Be kind.\n\nuser: Say hello." for row in rows)
    source = quickstart().data.sources["toy_sentiment"].replace(num_train=40)
    test = [row for row in load_examples(source, None) if row.split == "test"][:12]
    parrot = [{"id": row.example_id, "response": row.input} for row in test]
    (tmp_path / "parrot.jsonl").write_text("".join(json.dumps(row) + "\n" for row in parrot))
    (tmp_path / "losses.jsonl").write_text(
        "".join(json.dumps({"model": part["name"], "loss": 1 + number}) + "\n" for number, part in enumerate(given))
    )
    study = {
        "extends": "quickstart",
        "name": "side_by_side",
        "base_models": [],
        "tiny_base": None,
        "data": {"root": str(tmp_path), "sources": {"toy_sentiment": {"num_train": 40}}},
        "grid": {"design": "models", "models": given},
        "evaluation": {"sets": {"toy_sentiment": {"rows": 12}}},
        "scorers": ["exact_match", "judge"],
        "statistics": {"human": "exact_match", "resamples": 200},
        "error_rows": 0,
        "resources": {"num_cpus": 2},
    }
    path = tmp_path / "side_by_side.yaml"
    path.write_text(yaml.safe_dump(study))
    ended = assay("run", str(path), "--storage", str(storage), "--loss", str(tmp_path / "losses.jsonl"))
    assert ended.code == 0, ended.err
    ranking = table(storage, "ranking", "side_by_side")
    assert {row["arm"] for row in ranking} == {"base", "house", "uniform", "parrot"}
    assert len(ranking) == 4
    assert all((row["num_asked"], row["num_without_answer"]) == (12, 0) for row in ranking)
    assert {row["num_models"] for row in table(storage, "loss_line", "side_by_side")} == {4}
    assert {row["unit"] for row in table(storage, "leaderboard", "side_by_side")} <= {"", GIVEN_MODELS, ITEMS_ONLY}
    page = (storage / "studies" / "side_by_side" / "report.html").read_text()
    assert "How the judge ranks the models" in page
    status = assay("status", "side_by_side", "--storage", str(storage))
    assert "predictions         4 of        4" in status.out, status.out


def _reference(part: dict[str, str]) -> str:
    adapter = f"+{part['adapter']}" if "adapter" in part else ""
    return f"{part['name']}={part['model']}{adapter}"
