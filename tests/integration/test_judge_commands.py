"""`assay rank`, and the transports of judging commands, over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.judge_server import start_judge_server

GOOD = "Water boils at a lower temperature on a mountain because the air presses less on it there."


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Six prompts; model `good` answers, `poor` evades, `odd` is missing once."""
    rows = []
    for number in range(6):
        prompt = f"Why does water boil sooner on mountain number {number}?"
        said = {"good": f"{GOOD} ({number})", "poor": f"I do not know number {number}.", "odd": f"Because. {number}"}
        rows += [
            {"prompt": prompt, "model": model, "response": text, "reference": GOOD}
            for model, text in said.items()
            if (model, number) != ("odd", 3)
        ]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_models_are_ranked_jointly_and_against_a_baseline(
    answers: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    losses = tmp_path / "losses.jsonl"
    losses.write_text("\n".join(json.dumps({"model": m, "loss": v}) for m, v in (("good", 1), ("odd", 2), ("poor", 3))))
    with start_judge_server() as server:
        common = ["rank", "--answers", str(answers), "--judge", "rubric", "--base-url", server.base_url]
        common += ["--storage", str(tmp_path / "store")]
        joint, wins = tmp_path / "joint.json", tmp_path / "wins.json"
        assert run_app([*common, "--out", str(joint), "--losses", str(losses), "--without", "odd"]) == 0
        assert run_app([*common, "--out", str(wins), "--protocol", "Vanilla", "--baseline", "poor"]) == 0
    report = json.loads(joint.read_text())
    assert report["models"][0]["model"] == "good"
    assert {row["model"]: row["coverage"]["asked"] for row in report["models"]} == {"good": 6, "poor": 6, "odd": 5}
    assert report["calls"]["calls"] == 6 * 2 * 2, "two orders, with and without the model"
    assert report["without"]["model"] == "odd" and set(report["without"]["shifts"]) == {"good", "poor"}
    assert report["loss"]["num_models"] == 3
    against = json.loads(wins.read_text())
    assert against["baseline"] == "poor" and {row["model"] for row in against["models"]} == {"good", "odd"}
    for row in against["models"]:
        assert row["coverage"]["asked"] == row["coverage"]["scored"] == (6 if row["model"] == "good" else 5)
        assert row["length_controlled"]["value"] is None, "few answers have lengths on both sides of the baseline's"
    for path in (joint, wins):
        assert path.with_suffix(".svg").read_text().lstrip().startswith("<?xml")
    assert "at equal length" in capfd.readouterr().out


def test_flags_of_rank_that_do_not_go_together_are_told(
    answers: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = "http://127.0.0.1:9/v1"
    common = ["rank", "--answers", str(answers), "--judge", "m", "--out", str(tmp_path / "r.json")]
    for flags, says in (
        (["--base-url", url, "--protocol", "vanilla"], "saw no --baseline"),
        (["--base-url", url, "--baseline", "good"], "with --protocol joint"),
        (["--base-url", url, "--protocol", "vanilla", "--baseline", "who"], "saw who; expected some of the models"),
        (["--base-url", url, "--without", "who"], "saw who; expected some of the models"),
        ([], "--base-url: saw none"),
        (["--base-url", url, "--transport", "pigeon"], "expected one of chat, batch, local"),
        (["--base-url", url, "--transport", "local"], "leave one out"),
    ):
        assert run_app([*common, *flags, "--storage", str(tmp_path)]) == 2
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1 and says in lines[0], (flags, lines)


def pairs_file(folder: Path) -> Path:
    rows = [
        {"input": f"Say {number}.", "output_1": f"It is {number}.", "output_2": "No.", "label": 1}
        for number in range(5)
    ]
    path = folder / "pairs.json"
    path.write_text(json.dumps(rows))
    return path


def test_a_judge_is_asked_through_batch_files_and_the_replies_serve_chat(tmp_path: Path) -> None:
    data = pairs_file(tmp_path)
    with start_judge_server(batch_delay_s=0.1) as server:
        flags = ["metaeval", "llmbar", "--data", str(data), "--judge", "rubric", "--base-url", server.base_url]
        flags += ["--storage", str(tmp_path / "store"), "--tracking", "none"]
        first, second = tmp_path / "batch.json", tmp_path / "chat.json"
        assert run_app([*flags, "--transport", "batch", "--out", str(first)]) == 0
        assert run_app([*flags, "--out", str(second)]) == 0
    batch, chat = json.loads(first.read_text()), json.loads(second.read_text())
    assert batch["runs"] == chat["runs"]
    assert (batch["calls"]["from_ledger"], chat["calls"]["from_ledger"], chat["calls"]["calls"]) == (0, 10, 10)


def in_its_own_process(flags: list[str]) -> subprocess.CompletedProcess[str]:
    """vLLM changes the libraries of the process that it is imported into."""
    code = f"import sys; from assay.cli import run_app; sys.exit(run_app({flags!r}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_model_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    flags = ["metaeval", "llmbar", "--data", str(pairs_file(tmp_path)), "--judge", str(tmp_path / "nothing")]
    flags += [
        "--transport",
        "local",
        "--storage",
        str(tmp_path),
        "--tracking",
        "none",
        "--out",
        str(tmp_path / "o.json"),
    ]
    code = f"import sys; from assay.cli import run_app; sys.exit(run_app({flags!r}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = [line for line in run.stderr.splitlines() if line.startswith("assay:")]
    assert run.returncode == 2, run.stderr[-500:]
    assert len(lines) == 1 and "cannot be loaded" in lines[0]


@pytest.mark.slow
def test_a_local_model_judges_through_vllm_and_its_replies_are_kept(tmp_path: Path) -> None:
    from support.tiny_causal_models import save_tiny_model

    model = save_tiny_model(tmp_path / "tiny", "llama", chat=True)
    flags = ["metaeval", "llmbar", "--data", str(pairs_file(tmp_path)), "--judge", str(model), "--transport", "local"]
    flags += ["--dtype", "float32", "--strategy", "vanilla_norules", "--mode", "compat", "--tracking", "none"]
    flags += ["--storage", str(tmp_path / "store")]
    calls = []
    for name in ("first.json", "again.json"):
        code = (
            f"import sys; from assay.cli import run_app; sys.exit(run_app({[*flags, '--out', str(tmp_path / name)]!r}))"
        )
        run = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
        assert run.returncode == 1, run.stderr[-500:]  # its weights are random: nothing that it says is a verdict
        assert "no reply of the judge could be read; 10 of 10 unparsable, as in" in run.stderr.splitlines()[-1]
        assert "riton" not in run.stderr and "Warning" not in run.stderr, run.stderr
        report = json.loads((tmp_path / name).read_text())
        calls.append((report["calls"]["from_ledger"], report["calls"]["completion_tokens"] > 0))
        assert report["runs"][0]["coverage"]["asked"] == 5
        assert report["calls"]["endpoint"].startswith("local float32 ")
    assert calls == [(0, True), (10, False)]
