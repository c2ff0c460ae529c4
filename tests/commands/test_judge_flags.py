"""Flags of the judging commands that are refused before the first call, and never repeated where they hold a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.commands.judges.reports import connection_of
from assay.commands.options import CallOptions, LedgerOptions

URL = "http://127.0.0.1:9/v1"


@pytest.fixture
def llmbar(tmp_path: Path) -> list[str]:
    """A command line that would ask an endpoint that is not there."""
    data = tmp_path / "Mine.json"
    data.write_text(json.dumps([{"input": "Say 1.", "output_1": "1", "output_2": "No.", "label": 1}]))
    flags = ["metaeval", "llmbar", "--data", str(data), "--judge", "m", "--base-url", URL]
    return [*flags, "--out", str(tmp_path / "r.json"), "--storage", str(tmp_path / "store")]


def refused(flags: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert run_app(flags) == 2
    said = capfd.readouterr()
    (line,) = said.err.splitlines()
    assert not said.out
    return line


@pytest.mark.parametrize("uri", ["http://user:hunter2@localhost:9", "postgresql://localhost/db?password=hunter2"])
def test_a_tracking_uri_with_a_password_is_refused_before_the_first_call(
    llmbar: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], uri: str
) -> None:
    ifs = ["metaeval", "ifs", "--model", "m", "--dialogues", "toy", "--base-url", URL, "--out", str(tmp_path / "i")]
    human = ["metaeval", "human", "--data", str(tmp_path), "--out", str(tmp_path / "h.json")]
    for flags in (llmbar, [*ifs, "--storage", str(tmp_path / "store")], [*human, "--storage", str(tmp_path)]):
        line = refused([*flags, "--tracking", uri], capfd)
        assert "--tracking: saw a user or password" in line and "hunter2" not in line


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@db/assay", "postgresql://db/assay?password=hunter2"])
def test_a_ledgers_password_comes_from_the_environment_alone(
    llmbar: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for flags in (llmbar, ["ledger"]):
        line = refused([*flags, "--ledger", url], capfd)
        assert "ASSAY_LEDGER_URL" in line and "PGPASSWORD" in line and "hunter2" not in line
    monkeypatch.setenv("ASSAY_LEDGER_URL", url.replace("db/", "127.0.0.1:9/"))
    line = refused(["ledger"], capfd)  # taken, tried, and not repeated
    assert "cannot be opened" in line and "hunter2" not in line


def test_a_cap_without_a_price_names_the_flags_that_give_one(
    llmbar: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    remote = [part if part != URL else "https://judge.invalid/v1" for part in llmbar]
    line = refused([*remote, "--max-usd", "1", "--tracking", "none"], capfd)
    assert "--usd-per-million-input and --usd-per-million-output" in line
    line = refused([*remote, "--usd-per-million-input", "1"], capfd)
    assert "expected both or none" in line
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"id": "a", "instruction": "Say 1.", "output": "1"}) + "\n")
    tag = ["tag", "--data", str(rows), "--out", str(tmp_path / "tags.jsonl"), "--storage", str(tmp_path / "store")]
    tag += ["--judge", "m", "--base-url", "https://judge.invalid/v1", "--max-usd", "1"]
    assert "--usd-per-million-input and" in refused(tag, capfd)


def test_price_and_step_headers_reach_the_endpoint() -> None:
    calls = CallOptions(usd_per_million_input=1.0, usd_per_million_output=2.0, step_headers=True)
    made = connection_of("m", "https://judge.invalid/v1", LedgerOptions(), calls, study="s").endpoint
    assert (made.usd_per_million_input, made.usd_per_million_output, made.sends_step_headers) == (1.0, 2.0, True)
    plain = connection_of("m", "https://judge.invalid/v1", LedgerOptions(), CallOptions(), study="s").endpoint
    assert not plain.sends_step_headers
