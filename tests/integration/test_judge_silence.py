"""A judge that gives no reply: its reason is shown and kept, and the command does not end as if all were well."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assay.cli import run_app

REASON = "no recorded strategy; recorded are Vanilla"


class Picky(BaseHTTPRequestHandler):
    """Answers the plain comparison, and every other protocol with a 400 that says why."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("X-Assay-Protocol") == "vanilla":
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Output (a)"}}
            usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
            status, body = 200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}
        else:
            status, body = 400, {"error": {"message": REASON}}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def picky() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Picky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def pairs_file(folder: Path) -> Path:
    path = folder / "Mine.json"
    rows = [{"input": f"Say {n}.", "output_1": f"It is {n}.", "output_2": "No.", "label": 1} for n in range(2)]
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("command", ["llmbar", "pairs"])
def test_a_run_without_any_reply_is_bad_input_and_says_what_the_endpoint_said(
    picky: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    out = tmp_path / "report.json"
    flags = ["metaeval", command, "--data", str(pairs_file(tmp_path)), "--judge", "m", "--base-url", picky]
    flags += ["--step-headers", "--strategy", "Vanilla", "cot", "--tracking", "none"]
    flags += ["--storage", str(tmp_path / "store")]
    assert run_app([*flags, "--out", str(out)]) == 2
    said = capfd.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("assay:")]
    assert "Mine with cot" in line and REASON in line and "Vanilla," not in line.split("no reply")[0]
    good, bad = json.loads(out.read_text())["runs"]
    assert good["coverage"]["scored"] == 2 and "details" not in good["coverage"]
    assert bad["coverage"]["unscored"] == {"error: rejected": 2}
    assert REASON in bad["coverage"]["details"]["error: rejected"]


def test_ranking_and_audit_without_any_reply_say_why(
    picky: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text("\n".join(json.dumps({"prompt": "q", "model": m, "response": m}) for m in ("one", "two")))
    judge = ["--judge", "m", "--base-url", picky, "--storage", str(tmp_path / "store"), "--out", str(tmp_path / "o")]
    rank = ["rank", "--answers", str(answers), *judge]
    small = ["--items", "2", "--pairs", "2", "--attack-items", "1"]
    for flags in (rank, [*rank, "--protocol", "cot", "--baseline", "one"], ["audit-judge", *judge, *small]):
        assert run_app(flags) == 2
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("assay:")]
        assert len(lines) == 1 and REASON in lines[0], (flags, lines)


def test_scores_of_a_judge_that_never_replied_are_written_and_end_with_its_reason(
    picky: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "predictions.jsonl", tmp_path / "scored.jsonl"
    rows.write_text("\n".join(json.dumps({"prediction": text, "reference": "yes"}) for text in ("yes", "no")))
    judge = ["--scorers", "exact_match,judge", "--set", f"judge.base_url={picky}", "--set", "judge.model=m"]
    assert (
        run_app(["score", "--predictions", str(rows), *judge, "--storage", str(tmp_path / "store"), "--out", str(out)])
        == 2
    )
    said = capfd.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("assay:")]
    assert "no reply at all" in line and REASON in line
    scored = [json.loads(row) for row in out.read_text().splitlines()]
    assert [(row["exact_match"], row["judge"], row["judge_unscored"]) for row in scored] == [
        (1.0, None, "error: rejected"),
        (0.0, None, "error: rejected"),
    ]
