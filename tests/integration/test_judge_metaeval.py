"""Judges judged over real HTTP: recorded ones by replay, made-up ones by a foreign server, from the command line."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from assay.cli import run_app
from assay.judge_server import start_judge_server

STRATEGIES = ("Vanilla", "CoT", "Swap", "Metrics_Reference")
RATES = ("accuracy", "accuracy_original_order", "accuracy_swapped_order", "accuracy_both_orders")


def llmbar(*arguments: object, out: Path, expect: int = 0) -> dict[str, Any]:
    flags = ["metaeval", "llmbar", *map(str, arguments), "--out", str(out)]
    assert run_app(flags) == expect
    return json.loads(out.read_text()) if expect == 0 else {}


@pytest.fixture(scope="module")
def replay(shared_data: Path) -> Iterator[str]:
    with start_judge_server(mode="replay", replay=(shared_data / "llmbar/exchanges",)) as server:
        yield server.base_url


@pytest.mark.parametrize("judge", ["GPT-4", "ChatGPT"])
def test_replayed_judges_have_their_recorded_statistics_exactly(
    shared_data: Path, replay: str, judge: str, tmp_path: Path
) -> None:
    files = [shared_data / f"llmbar/datasets/{name}.json.gz" for name in ("Natural", "GPTInst")]
    data = [part for file in files for part in ("--data", file)]
    asked = [*data, "--judge", judge, "--base-url", replay, "--mode", "compat", "--storage", tmp_path / "store"]
    asked += [part for name in STRATEGIES for part in ("--strategy", name)]
    report = llmbar(*asked, "--tracking", "none", out=tmp_path / "report.json")
    expected = json.loads((shared_data / "llmbar/expected_shared.json").read_text())["results"]
    wanted = {(row["subset"], row["strategy"]): row for row in expected if row["judge"] == judge}
    found = {(run["subset"], run["strategy"]): run for run in report["runs"]}
    assert found.keys() == wanted.keys() and len(wanted) == 8
    for place, row in wanted.items():
        run = found[place]
        assert (run["judge"], run["mode"], run["n"]) == (judge, "compat", row["n"])
        for name in (*RATES, "positional_agreement"):
            assert run[name] == pytest.approx(row[name] / 100, abs=1e-12), (place, name)
        missing = row["unparsed_original_order"] + row["unparsed_swapped_order"]
        assert run["none_rate"] == pytest.approx(missing / (2 * row["n"]), abs=1e-12)
        coverage = run["coverage"]
        assert coverage["asked"] == row["n"] == coverage["scored"] + sum(coverage["unscored"].values())
        assert run["intervals"]["accuracy"]["low"] < run["accuracy"] < run["intervals"]["accuracy"]["high"]
    if judge == "GPT-4":
        vanilla = found["Natural", "Vanilla"]
        assert (vanilla["accuracy"], vanilla["positional_agreement"]) == (0.955, 0.95)
    assert {row["subset"] for row in report["comparisons"]} == {"Natural", "GPTInst", "all"}
    assert (tmp_path / "report.svg").read_text().lstrip().startswith("<?xml")
    # one strategy again, in our spelling: all replies are in the ledger, and the figures are the same
    flags = [*data, "--judge", judge, "--base-url", replay, "--mode", "compat", "--storage", tmp_path / "store"]
    again = llmbar(*flags, "--strategy", "cot", "--tracking", "none", out=tmp_path / "again.json")
    for run in again["runs"]:
        first = next(old for old in report["runs"] if (old["subset"], old["strategy"]) == (run["subset"], "CoT"))
        assert [run[name] for name in (*RATES, "n")] == [first[name] for name in (*RATES, "n")]
    assert again["calls"]["from_ledger"] == again["calls"]["calls"] == 2 * 192 and report["calls"]["from_ledger"] == 0


def test_strict_reads_recorded_judges_too(shared_data: Path, replay: str, tmp_path: Path) -> None:
    """Of 200 verdicts of ChatGPT one differs: it says "both are equally good" (Natural, CoT, item 17)."""
    data = shared_data / "llmbar/datasets/Natural.json.gz"
    report = llmbar(
        "--data", data, "--judge", "ChatGPT", "--base-url", replay, "--strategy", "cot", "--strategy", "SWAP",
        "--mode", "strict", "--storage", tmp_path, "--tracking", "none", out=tmp_path / "report.json",
    )  # fmt: skip
    cot, swap = report["runs"]
    assert (cot["strategy"], cot["accuracy"], cot["none_rate"], cot["tie_rate"]) == ("cot", 0.74, 0.0, 0.005)
    # a tie in one order is another verdict than a winner in the other, as None was in compat
    assert cot["positional_agreement"] == 0.64
    assert (swap["accuracy"], swap["positional_agreement"]) == (0.775, 0.89)


class Foreign(BaseHTTPRequestHandler):
    """A server that is not ours: no name, no step headers understood; it takes the longer output."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        first, _, rest = text.partition("# Output (b)")
        longer_first = len(first.rpartition("# Output (a)")[2]) >= len(rest.partition("# Which")[0])
        reply = f"Output ({'a' if longer_first else 'b'})"
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        data = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
                           "choices": [choice], "usage": usage}).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def foreign() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join(10)


def pairs_file(folder: Path, name: str, count: int) -> Path:
    rows = [
        {"input": f"Question {name} {number}", "output_1": "long " * (9 + number), "output_2": "short",
         "label": 1 + number % 2}
        for number in range(count)
    ]  # fmt: skip
    path = folder / f"{name}.json.gz"
    with gzip.open(path, "wt") as file:
        json.dump(rows, file)
    return path


def test_another_server_is_judged_and_tracked(foreign: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        pairs_file(tmp_path / "data", name, 6)
    report = llmbar(
        "--data", tmp_path / "data", "--judge", "longest", "--base-url", foreign, "--strategy", "Vanilla_NoRules",
        "--limit", "4", "--storage", tmp_path / "store", out=tmp_path / "report.json",
    )  # fmt: skip
    assert [run["subset"] for run in report["runs"]] == ["one", "two"]
    for run in report["runs"]:
        # labels 1, 2, 1, 2 and always the longer output 1: half right, always the same
        assert (run["n"], run["accuracy"], run["positional_agreement"]) == (4, 0.5, 1.0)
        assert run["strata"]["gold_longer"]["value"] == 1.0 and run["strata"]["gold_shorter"]["value"] == 0.0
        assert run["kappa"]["value"] == 0.0
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/store/mlflow.db")
    experiment = client.get_experiment_by_name("metaeval-llmbar")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics["accuracy"] for run in runs if "accuracy" in run.data.metrics) == [0.5, 0.5]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_cannot_work_is_told_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = pairs_file(tmp_path, "one", 2)
    bad = tmp_path / "bad.json"
    bad.write_text('[{"input": "x", "output_1": "a", "output_2": "b", "label": 3}]')
    common = ("--judge", "m", "--storage", tmp_path / "store")
    closed = ("--base-url", f"http://127.0.0.1:{free_port()}/v1")
    for arguments, says in (
        (("--data", data, *closed), "nothing answers at"),
        (("--data", bad, *closed), "saw label 3; expected 1 or 2"),
        (("--data", tmp_path / "none.json", *closed), "saw no such file"),
        (("--data", data, "--strategy", "best", *closed), "unknown"),
        (("--data", data, "--mode", "loose", *closed), "expected compat or strict"),
        (("--data", data, "--base-url", "ftp://x"), "expected a URL"),
    ):
        llmbar(*arguments, *common, out=tmp_path / "report.json", expect=2)
        lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("judging:")]
        assert len(lines) == 1 and says in lines[0], lines
    assert not (tmp_path / "report.json").exists()


def test_any_pairs_are_judged_and_the_ledger_sums_up(foreign: str, tmp_path: Path) -> None:
    """Texts under other names; the foreign judge takes the longer one; gold is a tie in one of three pairs."""
    rows = [
        {"pair_id": number, "question": f"Q{number}", "response_A": "long " * 9, "response_B": "short", "label": label}
        for number, label in enumerate(("A>B", "B>A", "A=B"))
    ]
    data = tmp_path / "pairs.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    common = ["--judge", "longest", "--base-url", foreign, "--storage", str(tmp_path / "store"), "--tracking", "none"]
    out = tmp_path / "pairs.json"
    assert run_app(["metaeval", "pairs", "--data", str(data), *common, "--out", str(out)]) == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert (run["n"], run["accuracy"], run["coverage"]["asked"]) == (2, 0.5, 3)
    assert run["agreement_with_gold"]["value"] == pytest.approx(1 / 3)
    assert run_app(["ledger", "--storage", str(tmp_path / "store"), "--by", "study,judge,day", "--json"]) == 0
    export = tmp_path / "calls.parquet"
    assert run_app(["ledger", "--storage", str(tmp_path / "store"), "--export", str(export)]) == 0
    import pyarrow.parquet as pq

    assert pq.read_table(export).num_rows == 6


def test_a_judge_is_held_against_those_who_gave_preferences(
    foreign: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The foreign judge takes the longer answer; so did people in 6 of 8 pairs, whichever side stands first."""
    rows = [
        {"prompt": f"Q{n}", "chosen": "long " * 9 if n < 6 else "short", "rejected": "short" if n < 6 else "long " * 9}
        for n in range(8)
    ]
    rows += [{"prompt": "Q", "chosen": "same", "rejected": "same"}, {"prompt": "Q", "completion": "a", "label": True}]
    data = tmp_path / "liked.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    out, where = tmp_path / "pairs.json", ["--data", str(data), "--tracking", "none"]
    asked = ["--judge", "longest", "--base-url", foreign, "--storage", str(tmp_path / "store")]
    command = ["metaeval", "pairs", *where, "--out", str(out), "--preference", "trl"]
    assert run_app([*command, *asked]) == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert (run["subset"], run["n"], run["accuracy"]) == ("liked", 8, 0.75)
    assert run["positional_agreement"] == 1.0
    assert run["intervals"]["accuracy"]["low"] < 0.75 < run["intervals"]["accuracy"]["high"]
    assert run["left_out"] == {"equal sides": 1, "one answer": 1}
    assert "1 equal sides, 1 one answer" in capfd.readouterr().out
    assert run_app(command) == 2
    assert "saw no --judge beside it" in capfd.readouterr().err
    assert run_app(["metaeval", "pairs", *where, *asked, "--out", str(out), "--preference", "odd"]) == 2
    assert "expected one of trl, hh" in capfd.readouterr().err
    assert run_app(["metaeval", "pairs", *where, *asked, "--out", str(out)]) == 2
    assert "neither a gold choice" in capfd.readouterr().err


def test_the_ledger_command_tells_what_it_has_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--storage", str(tmp_path)], ["--storage", str(tmp_path), "--by", "colour"]):
        assert run_app(["ledger", *arguments]) == 2
        assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_planted_bias_is_audited_over_http(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "audit.json"
    with start_judge_server(bias={"position": 0.5, "format": 0.15}) as server:
        flags = ["audit-judge", "--judge", "rubric-judge", "--base-url", server.base_url, "--out", str(out)]
        flags += ["--items", "12", "--pairs", "24", "--attack-items", "1", "--storage", str(tmp_path / "store")]
        assert run_app(flags) == 0
    report = json.loads(out.read_text())
    assert report["found"] == ["position", "format.markdown", "format.json"]
    effect = report["position"]["effect"]
    assert effect["low"] <= 0.5 <= effect["high"]
    assert report["coverage"]["unscored"] == {} and report["injection"]["num_attacks"] >= 30
    assert "FOUND" in capfd.readouterr().out


def test_an_audit_of_nobody_is_told_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    flags = ["audit-judge", "--judge", "m", "--base-url", url, "--out", str(tmp_path / "a.json")]
    assert run_app([*flags, "--storage", str(tmp_path)]) == 2
    assert run_app([*flags, "--storage", str(tmp_path), "--pointwise", "vanilla"]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("judging:")]
    assert len(lines) == 2 and "nothing answers at" in lines[0] and "--pointwise vanilla" in lines[1]
