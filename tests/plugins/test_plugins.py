"""Plug-ins: found, hashed, imported once, their parts used by studies, and their faults told in one line."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from assay.cli import run_app
from assay.errors import ConfigError, DataError
from assay.plugins.code import PluginCode
from assay.plugins.finding import find_plugin, installed_plugins
from assay.plugins.opening import registrations_of
from assay.records import Example, Rating, Unscored
from assay.scoring.jobs import LocalScoring, judge_instance, make_batches, scores_key
from assay.scoring.protocol import ScoreRequest
from assay.studies.builtin.paper import quickstart
from assay.studies.catalog import load_study
from assay.studies.inputs import dataset_keys
from assay.studies.registry import make_registry
from assay.studies.scores import scorer_specs, study_protocol
from assay.tasks.datasets.loaders import load_examples
from support.replayed import replay_protocol

PARTS = """
from assay.records import Rating, Unscored
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.llm.requests import Message, Sampling


def shortness(request, most=20):
    if not request.prediction:
        return None
    if "boom" in request.prediction:
        raise KeyError("boom")
    if "off" in request.prediction:
        return 7
    if "text" in request.prediction:
        return "much"
    return max(0.0, 1 - len(request.prediction) / most)


def polite(request):
    return Rating(float("please" in request.prediction), "seen")


class Yes:
    name = "yes"
    mode = "strict"

    def __init__(self, mode="strict", temperature=0.0):
        self.temperature = temperature

    def identity(self):
        return {"temperature": self.temperature}

    def run(self, instance):
        (reply,) = yield [JudgeCall("ask", (Message("user", instance.response),), Sampling(temperature=0.0))]
        if reply == "raise":
            raise RuntimeError("no")
        return PointwiseJudgement(float(reply), 0.0, 10.0)


def register(registry):
    registry.add_scorer("shortness", shortness, params={"most": 20})
    registry.add_heuristic("polite", polite)
    registry.add_protocol("yes", Yes)
    registry.add_task("faq", instruction="Answer.", heuristic="polite")
"""
BATCH = make_batches([("p" * 32, "e" * 32)])[0]


def write(folder: Path, text: str = PARTS, name: str = "my_parts", **changes: Any) -> Path:
    """A study file with a plug-in beside it, and rows of its own task."""
    (folder / f"{name}.py").write_text(text)
    rows = [{"input": f"question {n}", "output": f"answer {n}"} for n in range(60)]
    (folder / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = quickstart().model_dump(mode="json")
    source = {"loader": "jsonl", "path": "faq.jsonl", "task": "faq", "split_rule": "strict"}
    fields = {
        "name": "mine",
        "plugins": [name],
        "data": {"root": str(folder), "sources": {**plain["data"]["sources"], "faq": source}},
        "grid": {"tasks": ["faq"], "sizes": [0, 8], "draws": 1, "validation_rows": 8},
        "scorers": ["heuristic", "shortness", "judge"],
        "judge": {"protocol": "yes"},
        "statistics": {"human": "heuristic"},
        "training_seeds_at_zero": [0],
        **changes,
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**plain, **fields}))
    return path


def request(prediction: str, study: Any) -> ScoreRequest:
    return ScoreRequest(Example("1", "faq", "test", "i", "x", "gold"), study.registry.tasks.get("faq"), prediction)


def test_a_module_beside_the_study_brings_its_parts(tmp_path: Path) -> None:
    made = load_study(str(write(tmp_path)))
    scorers = {spec.name: made.registry.scorers.make(spec) for spec in scorer_specs(made)}
    rows = [request(text, made) for text in ("0123456789", "", "boom", "off", "text")]
    assert scorers["shortness"].score(rows) == [
        Rating(0.5),
        Unscored("plug-in gave no score"),
        Unscored("plug-in raised KeyError", "'boom'"),
        Unscored("plug-in gave a number off its range", "7"),
        Unscored("plug-in raised ValueError", "could not convert string to float: 'much'"),
    ]
    assert scorers["heuristic"].score([request("yes please", made)]) == [Rating(1.0, "seen")]
    protocol = study_protocol(made)
    instance = judge_instance(rows[0].example, "x")
    assert replay_protocol(protocol, instance, lambda call: "7").outcome().value == 0.7  # type: ignore[union-attr]
    outcome = replay_protocol(protocol, instance, lambda call: "raise").outcome()
    assert outcome == Unscored("plug-in raised RuntimeError")
    assert protocol.identity()["temperature"] == 0.1


def test_parts_travel_as_values(tmp_path: Path) -> None:
    made = load_study(str(write(tmp_path)))
    (spec,) = (spec for spec in scorer_specs(made) if spec.name == "shortness")
    table, protocol = pickle.loads(pickle.dumps((made.registry.scorers, study_protocol(made))))
    assert table.make(spec).score([request("0123456789", made)]) == [Rating(0.5)]
    assert protocol.identity() == study_protocol(made).identity()


WORKER = """
import pickle, sys
from assay.records import Example, Prediction
from assay.scoring.jobs import score_locally
scoring, protocol = pickle.load(open(sys.argv[1], "rb"))
rows = {"1": Example("1", "faq", "test", "i", "x", "gold"), "2": Example("2", "faq", "test", "i", "x", "gold")}
answers = [Prediction("1", "0123456789", "stop", 1, 1), Prediction("2", "boom", "stop", 1, 1)]
scorers = [scoring.table.make(spec) for spec in scoring.specs]
for row in score_locally(scorers, "p", answers, rows, scoring.tasks):
    print(row.scorer, row.example_id, row.rating, row.unscored)
print(protocol.identity()["plugin"])
"""


def test_a_worker_without_the_studys_folder_scores_by_what_it_was_sent(tmp_path: Path) -> None:
    made = load_study(str(write(tmp_path)))
    scoring = LocalScoring(scorer_specs(made), made.registry.tasks, made.registry.scorers)
    sent = tmp_path / "sent.pickle"
    sent.write_bytes(pickle.dumps((scoring, study_protocol(made))))
    (tmp_path / "my_parts.py").unlink()
    worker = [sys.executable, "-c", WORKER, str(sent)]
    ended = subprocess.run(worker, capture_output=True, text=True, check=False, cwd="/", timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "heuristic 1 0.0 None",
        "heuristic 2 0.0 None",
        "shortness 1 0.5 None",
        "shortness 2 None plug-in raised KeyError",
        made.used_plugins["my_parts"],
    ]


def test_the_source_is_identity_of_what_is_used_and_of_nothing_else(tmp_path: Path) -> None:
    def keys(text: str, **changes: Any) -> dict[str, str]:
        made = load_study(str(write(tmp_path, text, **changes)))
        found = {spec.name: scores_key(spec, BATCH) for spec in scorer_specs(made)}
        return {**found, "study": str(made.identity()), "judge": str(study_protocol(made).identity())}

    one, other = keys(PARTS), keys(PARTS + "\n# another\n")
    assert all(one[name] != other[name] for name in one)
    assert keys(PARTS) == one
    (tmp_path / "unused.py").write_text(PARTS.replace('"faq"', '"other"').replace('"', "'").replace("shortness", "s")
                                        .replace("polite", "p").replace("'yes'", "'no'"))  # fmt: skip
    assert keys(PARTS, plugins=["my_parts", "unused"]) == one


def test_two_versions_of_a_module_live_side_by_side(tmp_path: Path) -> None:
    first = load_study(str(write(tmp_path)))
    second = load_study(str(write(tmp_path, PARTS.replace("most=20", "most=20.0").replace('"most": 20', '"most": 40'))))
    values = []
    for made in (first, second, first):
        (spec,) = (spec for spec in scorer_specs(made) if spec.name == "shortness")
        values += made.registry.scorers.make(spec).score([request("0123456789", made)])
    assert values == [Rating(0.5), Rating(0.75), Rating(0.5)]


def test_a_package_brings_its_files_and_is_hashed_whole(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.txt").write_text("a b")
    read = "from pathlib import Path\nWORDS = Path(__file__).with_name('words.txt').read_text()\n"
    (package / "inner.py").write_text(read)
    (package / "parts.py").write_text(
        "from .inner import WORDS\n"
        "def register(registry):\n    registry.add_scorer('w', lambda request: len(WORDS) / 10)\n"
    )
    code = find_plugin("pack.parts", tmp_path)
    assert {path for path, _ in code.files} == {
        f"pack/{name}" for name in ("__init__.py", "words.txt", "inner.py", "parts.py")
    }
    registry = make_registry({}, [code])
    task = registry.tasks.get("sst2")
    row = ScoreRequest(Example("1", "sst2", "test", "i", "x", "y"), task, "z")
    assert registry.scorers.make("w").score([row]) == [Rating(0.3)]
    (package / "words.txt").write_text("a b c")
    assert find_plugin("pack.parts", tmp_path).identity != code.identity
    assert code.origin == "pack.parts (study's folder)"


def test_the_pages_example_is_a_plugin(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "platform" / "docs" / "extending.md").read_text()
    example = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "example.py").write_text(example)
    registry = make_registry({}, [find_plugin("example", tmp_path)])
    row = ScoreRequest(Example("1", "faq", "test", "i", "x", ""), registry.tasks.get("faq"), "Yes, please!")
    assert registry.scorers.make("shortness").score([row]) == [Rating(1 - 12 / 200)]
    assert registry.scorers.make("heuristic").score([row]) == [Rating(1.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_like_it\n", r"cannot be imported \(ModuleNotFoundError: No module named 'nothing_like_it'\)"),
        ("def register(\n", r"cannot be imported \(SyntaxError"),
        ("x = 1\n", "saw no function register"),
        ("def register(registry):\n    1 / 0\n", "its register raised ZeroDivisionError"),
        (
            "def register(registry):\n    registry.add_scorer('rouge1', len)\n",
            "scorer 'rouge1': saw a second definition",
        ),
        ("def register(registry):\n    registry.add_task('t', instructions='x')\n", "task 't'.*unknown field"),
        ("def register(registry):\n    registry.add_heuristic('sst2', len)\n", "heuristic 'sst2': saw a second"),
        ("def register(registry):\n    registry.add_scorer('', len)\n", "saw the name ''"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_line_before_anything_runs(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_study(str(path))
    assert "\n" not in str(caught.value)
    assert run_app(["run", str(path), "--storage", str(tmp_path / "store")]) == 2
    assert not (tmp_path / "store").exists()
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


LOADER = """
def lines(path):
    for line in path.read_text().splitlines():
        question, _, answer = line.partition("|")
        if answer == "bad":
            raise LookupError("bad")
        yield {"q": question, "a": answer} if answer != "none" else None


def register(registry):
    registry.add_loader("lines", lines)
    registry.add_task("faq", instruction="Answer.", answer={"format": "free"})
"""


def test_a_loader_of_ones_own_reads_a_form_of_ones_own(tmp_path: Path) -> None:
    columns = {"input": "q", "output": "a"}
    source = {"loader": "lines", "path": "faq.txt", "task": "faq", "columns": columns, "split_rule": "strict"}
    changes = {"data": {"root": str(tmp_path)}, "scorers": ["rouge1"], "statistics": {"human": "rouge1"}}
    plain = yaml.safe_load(write(tmp_path, LOADER, **changes).read_text())
    instructions = quickstart().model_dump(mode="json")["data"]["sources"]["instructions"]

    def made(text: str, plugin: str = LOADER) -> Any:
        (tmp_path / "my_parts.py").write_text(plugin)
        (tmp_path / "faq.txt").write_text(text)
        plain["data"]["sources"] = {"instructions": instructions, "faq": source}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(plain))
        return load_study(str(tmp_path / "mine.yaml"))

    study = made("".join(f"q{n}|a{n}\n" for n in range(50)))
    rows = load_examples(study.data.sources["faq"], tmp_path, study.registry.tasks)
    assert [(row.input, row.reference, row.instruction) for row in rows[:2]] == [
        ("q0", "a0", "Answer."), ("q1", "a1", "Answer."),
    ]  # fmt: skip
    other = made("".join(f"q{n}|a{n}\n" for n in range(50)), LOADER + "# changed\n")
    assert dataset_keys(other)["faq"] != dataset_keys(study)["faq"]
    assert dataset_keys(other)["instructions"] == dataset_keys(study)["instructions"]
    for text, said in (
        ("q|a\nq|bad\n", "faq.txt:2: loader 'lines' raised LookupError"),
        ("q|none\n", "expected a map"),
    ):
        bad = made(text)
        with pytest.raises(DataError, match=said):
            load_examples(bad.data.sources["faq"], tmp_path, bad.registry.tasks)
    (tmp_path / "faq").mkdir()
    for name in ("train.txt", "validation.txt", "test.txt", "notes.txt"):
        (tmp_path / "faq" / name).write_text(f"{name}|a\n")
    source |= {"path": "faq", "split_rule": "files"}
    folder = made("")
    rows = load_examples(folder.data.sources["faq"], tmp_path, folder.registry.tasks)
    assert [(row.split, row.input) for row in rows] == [
        ("train", "train.txt"), ("validation", "validation.txt"), ("test", "test.txt"),
    ]  # fmt: skip
    (tmp_path / "faq" / "val.csv").write_text("other|a\n")  # the later name was taken, and nobody was told
    with pytest.raises(DataError, match=r"saw val\.csv and validation\.txt; expected one file a split"):
        load_examples(folder.data.sources["faq"], tmp_path, folder.registry.tasks)
    source["loader"] = "odd"
    with pytest.raises(ConfigError, match=r"loader: saw 'odd'; expected one of toyworld, .*, lines"):
        made("q|a\n")


@pytest.mark.parametrize("name", ["../my_parts", "/tmp/my_parts", "my-parts", "my_parts.py/", ""])
def test_a_path_is_no_plugin(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected the name of a module"):
        find_plugin(name, tmp_path)


def test_a_module_outside_of_the_studys_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, study = tmp_path / "elsewhere", tmp_path / "study"
    elsewhere.mkdir()
    study.mkdir()
    (elsewhere / "stray_parts.py").write_text(PARTS)
    monkeypatch.setattr(sys, "path", [*sys.path, str(elsewhere)])
    with pytest.raises(ConfigError, match=r"outside of the study's folder .* and of every installed package"):
        find_plugin("stray_parts", study)
    (study / "linked.py").symlink_to(elsewhere / "stray_parts.py")
    with pytest.raises(ConfigError, match=r"linked\.py leads out of the study's folder"):
        find_plugin("linked", study)
    with pytest.raises(ConfigError, match=r"neither in .* nor installed"):
        find_plugin("no_such_parts", study)


def install(folder: Path, version: str = "1.2") -> None:
    """A distribution with an entry point, as pip leaves it."""
    (folder / "assay_demo.py").write_text(
        "def register(registry):\n    registry.add_scorer('demo', lambda request: 1.0)\n"
    )
    info = folder / f"assay_demo-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: assay-demo\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[assay.plugins]\ndemo = assay_demo\n")
    (info / "RECORD").write_text("assay_demo.py,,\n")
    (info / "top_level.txt").write_text("assay_demo\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    installed_plugins.cache_clear()
    yield folder
    installed_plugins.cache_clear()
    sys.modules.pop("assay_demo", None)


def test_an_installed_package_is_known_by_its_version(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = installed_plugins()
    assert code == PluginCode("assay_demo", "assay-demo==1.2")
    assert find_plugin("assay_demo", None) == code
    assert make_registry({}).scorers.spec("demo").params == {"plugin": "assay-demo==1.2"}
    assert "plugins" not in quickstart().identity()  # it brings nothing to this study
    assert run_app(["score", "--list"]) == 0
    _, listed = capsys.readouterr().out.split("\ndemo ")
    assert listed.splitlines()[1].strip() == "from assay-demo==1.2"


def test_a_node_with_another_version_says_what_to_install(installed: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"saw 1\.2 of assay-demo on node .*; expected 9\.9 on every node; install it"
    ):
        registrations_of(PluginCode("assay_demo", "assay-demo==9.9"))
    with pytest.raises(ConfigError, match=r"saw none of gone"):
        registrations_of(PluginCode("gone", "gone==1"))
    assert importlib.metadata.version("assay-demo") == "1.2"


def test_a_stored_study_names_no_folder_to_import_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_study(str(write(tmp_path)))
    stored = made.model_dump(mode="json")
    assert str(tmp_path) not in json.dumps({**stored, "data": None})
    with pytest.raises(ConfigError, match="this study is read from none"):
        type(made).model_validate(stored)
    monkeypatch.setenv("ASSAY_PLUGINS", str(tmp_path))
    assert type(made).model_validate(stored).identity() == made.identity()
    assert made.replace(name="again").study_folder == str(tmp_path)
