"""`assay metaeval ifs` over real HTTP: models behind an endpoint, a perfect one among them, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.commands.ifs import is_ifs_study, load_ifs_study
from assay.errors import ConfigError
from assay.ifs.prompts import ifs_prompts, is_partial
from assay.records import Example
from assay.studies.ifs_models.builtin import IFS_STUDIES
from assay.tasks.datasets.loaders import load_examples
from assay.tone.artifact import TOY_TONE_SOURCE
from assay.tone.model import ToneSpec
from assay.tone.texts import dialogues_of, split_dialogues

NUM_PROMPTS = 100


@pytest.fixture(scope="module")
def prompts() -> list[Example]:
    """The prompts that the command will ask: of the questions that the classifier has not learned from."""
    dialogues = dialogues_of(load_examples(TOY_TONE_SOURCE, None))
    _, held_out = split_dialogues(dialogues, ToneSpec().held_out, ToneSpec().seed)
    return ifs_prompts(held_out, NUM_PROMPTS, seed=0)


class Models(BaseHTTPRequestHandler):
    """`perfect` answers every prompt, `continues` asks another question, `fails` refuses fragments of one place."""

    answers: dict[str, str]
    refused: str

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][-1]["content"]
        answer = self.answers.get(prompt.removesuffix("\n\n### Response:\n"))
        if answer is None or asked["model"] == "untemplated" or (asked["model"] == "fails" and prompt == self.refused):
            self.reply(400, {"error": {"message": "no such prompt"}})
            return
        if asked["model"] == "continues":
            answer = "that she has there. How many things does she have now?"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        head = {"id": "x", "object": "chat.completion", "created": 0, "model": asked["model"]}
        self.reply(200, {**head, "choices": [choice], "usage": usage})

    def do_GET(self) -> None:
        self.reply(404, {})

    def reply(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def endpoint(prompts: list[Example]) -> Iterator[str]:
    Models.answers = {prompt.instruction: prompt.reference for prompt in prompts}
    Models.refused = next(prompt.instruction for prompt in prompts if is_partial(prompt))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shared, so that the classifier is trained once."""
    return str(tmp_path_factory.mktemp("store"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def test_a_perfect_model_covers_1_and_one_that_continues_0(
    endpoint: str, storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ifs.json"
    command = ["metaeval", "ifs", "--base-url", endpoint, "--dialogues", "toy", "--prompts", "C,B", "--out", str(out)]
    command += ["--n", str(NUM_PROMPTS), "--storage", storage, "--tracking", "none"]
    assert run_app([*command, "--model", "continues", "--model", "good=perfect", "--model", "fails"]) == 0
    report = json.loads(out.read_text())
    rows = {(row["model"], row["prompt"]): row for row in report["rows"]}
    assert len(rows) == 6
    for prompt in ("B", "C"):
        good, poor = rows["good", prompt], rows["continues", prompt]
        assert good["overall"]["corrected"]["high"] == 1.0
        assert good["overall"]["corrected"]["low"] > 0.9
        assert poor["overall"]["corrected"]["low"] == 0.0
        assert poor["overall"]["corrected"]["high"] < 0.1
        assert good["versus_first"]["model"] == "continues"
        assert good["versus_first"]["corrected"]["low"] > 0.8
    assert rows["fails", "C"]["missing"] == {"error: rejected": 1}
    assert rows["fails", "C"]["partial"]["raw"]["n"] == NUM_PROMPTS // 2 - 1
    assert report["prompts"] == {"n": 100, "fragments": 50, "seed": 0, "dialogues": "toy dialogues"}
    printed = capsys.readouterr().out
    assert "missing: 1 error: rejected" in printed
    assert "corrected IFS" in printed
    lines = [json.loads(line) for line in out.with_suffix(".responses.jsonl").read_text().splitlines()]
    assert len(lines) == 6 * NUM_PROMPTS
    assert sum(line["missing"] is not None for line in lines) == 1
    assert out.with_suffix(".svg").read_text().lstrip().startswith("<?xml")


def test_a_kept_classifier_gives_the_same_scores(endpoint: str, storage: str, tmp_path: Path) -> None:
    first, second, kept = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "tone"
    command = ["metaeval", "ifs", "--model", "perfect", "--base-url", endpoint, "--dialogues", "toy", "--prompts", "C"]
    command += ["--n", str(NUM_PROMPTS), "--storage", storage, "--tracking", "none"]
    assert run_app([*command, "--out", str(first), "--save-tone", str(kept)]) == 0
    assert sorted(path.name for path in kept.iterdir()) == ["tone.json", "weights.safetensors"]
    # prompts of another seed would be others: the classifier's own questions are not known any more, so fewer fit
    assert run_app([*command, "--out", str(second), "--tone", str(kept), "--set", "num_prompts=2"]) == 0
    sensitivity = [json.loads(path.read_text())["tone"]["sensitivity"] for path in (first, second)]
    assert sensitivity[0] == sensitivity[1]


def test_a_model_that_answers_nothing_fails_with_the_endpoints_reason(
    endpoint: str, storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["metaeval", "ifs", "--model", "untemplated", "--base-url", endpoint, "--dialogues", "toy", "--n", "4"]
    command += ["--out", str(tmp_path / "o.json"), "--storage", storage, "--tracking", "none"]
    assert run_app(command) == 1
    error = capsys.readouterr().err
    assert "answers nothing" in error and "no such prompt" in error


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--model", "{tmp}/none"], "saw no such folder"),
        (["--model", "a=x", "--model", "a=y"], "expected a name of its own"),
        (["--model", "m", "--prompts", "D"], "prompts"),
        (["--model", "m", "--dialogues", "{tmp}/none.jsonl"], "saw no file or folder"),
        (["--model", "m", "--format", "csv", "--dialogues", "{tmp}/x"], "--format csv"),
        (["--model", "m", "--tone", "{tmp}"], "saw no readable tone.json"),
        (["--model", "m", "--tone", "{tmp}", "--encoder", "{tmp}"], "not both"),
        (["--model", "m", "--encoder", "{tmp}/e", "--embedding", "{tmp}/e"], "at most one"),
        (["--model", "m", "--n", "5000"], "expected 5,000"),
        (["--model", "m", "--set", "nothing=1"], "unknown field 'nothing'"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1"], "127.0.0.1:9"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    flags: list[str], says: str, storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["metaeval", "ifs", "--out", str(tmp_path / "o.json"), "--storage", storage, "--tracking", "none"]
    given = [flag.replace("{tmp}", str(tmp_path)) for flag in flags]
    if "--dialogues" not in given:
        command += ["--dialogues", "toy"]
    assert run_app([*command, *given]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("assay: ")]
    assert len(error) == 1 and says in error[0], error


def test_studies_by_name_or_file(tmp_path: Path) -> None:
    assert is_ifs_study("ifs_models_small") and not is_ifs_study("quickstart")
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: ifs_models_small\nname: mine\nnum_prompts: 40\ngeneration: {engine: hf}\n")
    assert is_ifs_study(str(mine))
    study = load_ifs_study(str(mine), ["seed=3"])
    assert (study.name, study.num_prompts, study.seed) == ("mine", 40, 3)
    assert (study.generation.engine, study.generation.max_model_len) == ("hf", 256)
    assert study.models == IFS_STUDIES["ifs_models_small"]().models
    whole = tmp_path / "whole.yaml"
    whole.write_text("kind: ifs_models\nname: x\nmodels: [{name: a, model: tiny}]\ndialogues: {loader: toyworld}\n")
    with pytest.raises(ConfigError, match="needs the field tiny_base"):
        load_ifs_study(str(whole), [])
