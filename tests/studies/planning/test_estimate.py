"""Planning: exact counts, stated assumptions, and nothing touched or imported."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.studies.artifacts import Base, study_artifacts
from assay.studies.builtin.paper import BUILTIN, quickstart
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.planning.estimate import Estimate, parameters, plan
from assay.studies.planning.outline import outline_datasets
from assay.studies.planning.throughput import rates

ROOT = Path(__file__).resolve().parents[3]
ENGINES = ("torch", "ray", "vllm", "mlflow", "deepspeed", "transformers")
KEYS = {
    "cells",
    "distinct_trainings",
    "train_rows",
    "train_tokens",
    "predictions",
    "judge_calls",
    "usd",
    "gpu_hours",
}


def test_quickstart_in_numbers() -> None:
    made = plan(quickstart())
    study = quickstart()
    per_task = len([size for size in study.grid.sizes if size]) * study.grid.draws
    assert made.cells == 4 * (per_task + study.grid.draws * 3)  # N = 0 has three training seeds
    assert made.distinct_trainings == 4 * per_task + 3
    rows = study.grid.instruction_rows or study.data.sources["instructions"].num_train
    target = 4 * study.grid.draws * sum(study.grid.sizes)
    assert made.train_rows == made.distinct_trainings * rows + target
    answered = study.evaluation.target_rows or 0
    instruction = study.evaluation.instruction_rows
    expected = 4 * per_task * (answered + instruction) + 3 * (4 * answered + instruction)
    assert made.predictions == made.judge_calls == expected
    assert made.usd == 0.0


def test_ten_thousand_cells_are_planned_without_engines_or_traces(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom assay.cli import run_app\n"
        f"code = run_app(['plan', {str(ROOT / 'jobs/studies/plan_10k.yaml')!r}, '--json'])\n"
        f"loaded = [name for name in {ENGINES!r} if name in sys.modules]\n"
        "assert not loaded, loaded\nraise SystemExit(code)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    made = json.loads(run.stdout)
    assert set(made) >= KEYS
    assert made["cells"] == 10_000
    assert list(tmp_path.iterdir()) == []


def test_a_paid_judge_has_a_price_and_an_unknown_one_none() -> None:
    paid = plan(load_study("quickstart", ["judge.model=gpt-4o", "judge.base_url=https://api.openai.com/v1"]))
    assert paid.usd is not None
    assert paid.usd > 0
    unknown = plan(load_study("quickstart", ["judge.model=nobodys-model", "judge.base_url=https://x.example/v1"]))
    assert unknown.usd is None
    assert any("no price" in note for note in unknown.assumptions)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen2.5-0.5B", 0.5e9),
        ("EleutherAI/pythia-160m", 160e6),
        ("huggyllama/llama-7b", 7e9),
        ("bigscience/bloom-7b1", 7e9),
        ("mystery", None),
        ("folder/v2-base", None),
    ],
)
def test_parameters_are_read_from_names(name: str, expected: float | None) -> None:
    assert parameters(name, quickstart()) == expected


def test_unknown_model_sizes_leave_gpu_hours_unknown() -> None:
    made = plan(load_study("quickstart", ["base_models=[mystery]"]))
    assert made.gpu_hours is None
    assert any("mystery" in note for note in made.assumptions)


MIXTURE_STUDIES = ("forgetting", "hold_one_out", "quickstart", "s1", "s1_sources", "s2", "scorer_benchmark")


@pytest.mark.parametrize("name", MIXTURE_STUDIES)
def test_every_builtin_study_is_planned_and_wants_what_is_planned(name: str) -> None:
    study = BUILTIN[name]()
    made = plan(study)
    keys = {source: f"{number:032x}" for number, source in enumerate(study.data.names)}
    bases = {model: Base(model, f"base of {model}", "") for model in study.all_models}
    wants = study_artifacts(study, expand(study), bases, keys)
    assert made.distinct_trainings == len(wants.tunings) + len(wants.trainings)
    assert made.gpu_hours is not None
    assert made.usd is not None
    assert len({job.key for job in wants.generations}) == len(wants.runs)


def test_s1_says_199_trainings_of_each_base() -> None:
    made = plan(BUILTIN["s1"]())
    assert (made.cells_per_base, made.trainings_per_base) == (280, 199)
    assert (made.cells, made.distinct_trainings) == (4 * 280, 4 * 199)


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "studies").glob("*_small.yaml")), ids=lambda path: path.stem)
def test_every_small_study_names_what_is_there(path: Path) -> None:
    study = load_study(str(path), ["data.root=/data"])
    assert study.name == path.stem
    assert 0 < plan(study).distinct_trainings < 80


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "studies").glob("*_small.yaml")), ids=lambda path: path.stem)
def test_every_small_study_takes_all_its_sizes_for_cit_and_cat(path: Path) -> None:
    study = load_study(str(path))
    sizes = getattr(study.grid, "sizes", (0,))  # mixtures by weight have no N
    assert max(sizes) < study.statistics.below_target


def test_a_measured_rate_takes_the_place_of_an_assumed_one() -> None:
    study = BUILTIN["s1"]()
    assumed, faster = plan(study), plan(study, rates("H100"))
    assert assumed.gpu_hours is not None
    assert faster.gpu_hours is not None
    assert faster.gpu_hours < assumed.gpu_hours
    measured = plan(study, rates("H100", train_tokens_per_s=1e4, generate_tokens_per_s=1e12))
    assert measured.gpu_hours == pytest.approx(measured.train_tokens / 1e4 / 3600, rel=1e-3)
    assert any("10,000 tokens/s in training (measured" in note for note in measured.assumptions)
    with pytest.raises(ConfigError, match="expected one of L4, A10G, A100"):
        rates("abacus")


def test_a_held_out_category_answers_its_share_of_the_test_rows() -> None:
    study = BUILTIN["hold_one_out"]()
    made = plan(study)
    share = round(5200 / 13)  # of Alpaca's test rows, below the 500 that are asked for at most
    assert made.predictions == made.judge_calls == 4 * 12 * 6 * share  # bases, categories, 3 sizes + N = 0 x 3
    few = study.replace(evaluation=study.evaluation.replace(target_rows=100))
    assert plan(few).predictions == 4 * 12 * 6 * 100


def test_what_is_written_and_tagged_is_priced_too() -> None:
    sources, tagged = plan(BUILTIN["s1_sources"]()), plan(BUILTIN["hold_one_out"]())
    assert sources.writer_calls == 3 * 100  # three tasks, 1,000 rows each, ten a call
    assert tagged.writer_calls == 5000
    free = plan(load_study("s1_sources", ["writer={model: rubric}"]))
    assert sources.usd is not None
    assert free.usd is not None
    assert free.writer_calls == 300
    assert free.usd < sources.usd


def test_an_unknown_scorer_or_parameter_is_refused() -> None:
    with pytest.raises(ConfigError, match="saw 'rouge9'; expected one of"):
        plan(load_study("quickstart", ["scorers=[truth, rouge9]"]))
    with pytest.raises(ConfigError, match="saw the parameter 'stem'"):
        plan(load_study("quickstart", ["scorers=[truth, rouge1]", "scorer_params={rouge1: {stem: true}}"]))


def test_more_rows_than_a_toy_split_holds_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"asks for 99,999 'toy_\w+' rows; expected at most [\d,]+, what the train split"
    ):
        plan(load_study("quickstart", ["grid.sizes=[0, 99999]"]))


@pytest.mark.parametrize("name", ["rows", "rows/train.jsonl"])
@pytest.mark.parametrize(("end", "rule"), [("\n", "files"), ("", "files"), ("\n", "strict")])
def test_more_rows_than_a_file_holds_are_refused(tmp_path: Path, name: str, end: str, rule: str) -> None:
    (tmp_path / "rows").mkdir()
    line = json.dumps({"id": "", "input": "x", "output": "positive"})
    (tmp_path / "rows" / "train.jsonl").write_text("\n".join([line] * 20) + end)

    def made(size: int) -> Estimate:
        task = "grid.tasks=[sst2]", f"data.sources.sst2={{loader: jsonl, task: sst2, path: {name}, split_rule: {rule}}}"
        return plan(load_study("quickstart", [*task, f"grid.sizes=[0, {size}]", f"data.root={tmp_path}"]))

    assert made(20).cells
    with pytest.raises(ConfigError, match="asks for 21 'sst2' rows; expected at most 20"):
        made(21)


def test_rows_that_nobody_counted_are_not_refused(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "train.json").write_text("[\n{}]")
    (tmp_path / "rows" / "validation.jsonl").write_text("{}\n")
    source = "data.sources.sst2={loader: jsonl, task: sst2, path: rows}"
    assert plan(load_study("quickstart", ["grid.tasks=[sst2]", source, "grid.sizes=[0, 500]", f"data.root={tmp_path}"]))
    hub = "data.sources.sst2={loader: hub, task: sst2, hub: nyu-mll/glue, hub_config: sst2}"
    assert plan(load_study("quickstart", ["grid.tasks=[sst2]", hub, "grid.sizes=[0, 500000]"]))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "folder"])
def test_tables_are_counted_by_their_rows(tmp_path: Path, name: str) -> None:
    """Parquet has no lines, the first line of a CSV names columns, and a folder's files may be either."""
    import pandas as pd

    def rows(count: int) -> pd.DataFrame:
        return pd.DataFrame({"instruction": [f"Say {n}." for n in range(count)], "output": ["a"] * count})

    rows(3000).to_parquet(tmp_path / "rows.parquet")
    rows(3000).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "folder").mkdir()
    for split, count in (("train", 2400), ("validation", 300), ("test", 300)):
        rows(count).to_csv(tmp_path / "folder" / f"{split}.csv", index=False)
    study = load_study("quickstart", [
        f"data.root={tmp_path}", f"data.sources.instructions={{loader: alpaca, path: {name}, split_rule: strict}}",
        "grid.instruction_rows=2000", "grid.validation_rows=100",
    ])  # fmt: skip
    outline = outline_datasets(study)["instructions"]
    assert outline.rows == {"train": 2400, "validation": 300, "test": 300}
    assert plan(study).distinct_trainings == 39
    if name == "folder":
        return  # its rows are split anew by content, so no split has a bound
    with pytest.raises(ConfigError, match="asks for 5,000 'instructions' rows; expected at most 3,000"):
        plan(study.replace(grid=study.grid.replace(instruction_rows=5000)))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_a_file_is_counted_to_its_last_row_and_a_large_one_by_its_first_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_ended: bool
) -> None:
    rows = [json.dumps({"instruction": f"Say {sha256(str(n).encode()).hexdigest()}."}) for n in range(40_000)]
    data = ("\n".join(rows) + "\n" * is_ended).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    study = load_study("quickstart", [
        f"data.root={tmp_path}", f"data.sources.instructions={{loader: alpaca, path: {name}, split_rule: strict}}",
    ])  # fmt: skip
    assert sum(outline_datasets(study)["instructions"].rows.values()) == 40_000
    monkeypatch.setattr("assay.studies.planning.outline.COUNT_BYTES", 1)  # a block of 1 MiB of about 4 is read
    assert sum(outline_datasets(study)["instructions"].rows.values()) == pytest.approx(40_000, rel=0.1)


def test_a_study_in_rounds_is_priced_as_expected_and_at_worst() -> None:
    decide = {"scorer": "truth", "spend": {"rounds": [2, 4], "items": [30, 60]}}
    study = load_study("quickstart", ["grid.draws=4", "training_seeds_at_zero=[0,1,2,3]"]).replace(decide=decide)
    made = plan(study)
    assert made.decide is not None
    worst, expected = made.decide["worst"], made.decide["expected"]
    tasks, arms = len(study.target_sets), len(study.grid.sizes) - 1  # type: ignore[union-attr]
    assert worst["trainings"] == 4 * (1 + tasks * arms) == made.distinct_trainings
    # 60 of each task's rows for each arm and draw, N = 0 on all tasks, and the instruction rows of every adapter
    targets = 60 * 4 * tasks * (arms + 1)
    assert worst["predictions"] == targets + worst["trainings"] * study.evaluation.instruction_rows
    for name in ("trainings", "predictions", "judge_calls"):
        assert 0.3 * worst[name] < expected[name] < worst[name], name  # type: ignore[operator]
    assert plan(load_study("quickstart")).decide is None
    assert any("simulated studies" in note for note in made.assumptions)


def test_a_study_that_ends_losing_trainings_is_priced_at_least_and_at_worst() -> None:
    changes = [
        "grid.tasks=[toy_sentiment]",
        "grid.target_validation_rows=8",
        "grid.sizes=[0,16,64,256]",
        "train.eval_every=2",
        "exits={at: [0.25]}",
        "base_models=[Qwen/Qwen2.5-0.5B]",
    ]
    study = load_study("quickstart", changes)
    made, whole = plan(study), plan(study.replace(exits=None))
    assert made.exits is not None and whole.exits is None
    least, worst = made.exits["least"], made.exits["worst"]
    figures = ("predictions", "judge_calls", "usd", "gpu_hours")
    assert [worst[name] for name in figures] == [getattr(whole, name) for name in figures]
    # three seeds of N = 0, and three draws of N = 16, 64 and 256, of which two sizes end
    assert (worst["trainings"], least["trainings"]) == (12, 6)
    assert least["predictions"] == whole.predictions - 6 * (100 + 60)
    assert 0 < least["gpu_hours"] < worst["gpu_hours"]  # type: ignore[operator]
    with pytest.raises(ConfigError, match=r"exits.at: 0.25 of the 56 steps .* train.eval_every: 4"):
        plan(study.replace(train=study.train.replace(eval_every=5)))
