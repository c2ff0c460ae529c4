"""The configuration, its command line, and the name that goes into the ledger."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from assay.errors import ConfigError
from assay.judge_server import command
from assay.judge_server.command import judge_server_command
from assay.judge_server.config import Biases, JudgeServerConfig, parse_pairs
from assay.judge_server.replay.recordings import read_datasets
from assay.judge_server.server import serving


@pytest.fixture
def parsed(monkeypatch):
    """Parses a command line to the configuration that would be served."""
    served: list[JudgeServerConfig] = []
    monkeypatch.setattr(serving, "serve", lambda config, watch_parent=False: served.append(config))

    def parse(arguments: list[str]) -> JudgeServerConfig:
        app = typer.Typer()
        app.command(cls=command.JudgeServerCommand)(command.judge_server_command)
        result = CliRunner().invoke(app, arguments)
        if result.exception:
            raise result.exception
        return served[-1]

    return parse


def test_the_command_line_of_a_configuration_gives_it_back(parsed, tmp_path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("")
    for config in (
        JudgeServerConfig(),
        JudgeServerConfig(
            bias=Biases(position=0.1, noise=0.25, self_marker="I am Bard"),
            faults={"5xx": 0.05, "hang": 0.001},
            rpm=600,
            tpm=10_000,
            window="fixed",
            latency_ms=12.5,
            seed=7,
            models=("a", "b"),
        ),
        JudgeServerConfig(
            mode="replay", replay=(tmp_path / "a.jsonl", tmp_path / "b.jsonl"), judge="GPT-4", strategy="CoT"
        ),
    ):
        assert parsed(config.command_line()) == config


def test_several_files_may_follow_one_replay_flag(parsed) -> None:
    config = parsed(["--replay", "a.jsonl", "b.jsonl.gz", "--judge", "GPT-4", "--strategy", "vanilla", "--port", "0"])
    assert config.mode == "replay" and config.replay == (Path("a.jsonl"), Path("b.jsonl.gz"))
    assert (config.judge, config.strategy) == ("GPT-4", "vanilla")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--faults", "5xx=.5,hang=.6"], "sum to at most 1"),
        (["--faults", "flood=.5"], "unknown fault 'flood'"),
        (["--faults", "5xx"], "expected NAME=NUMBER"),
        (["--bias", "pride=.1"], "unknown field 'bias.pride'"),
        (["--rpm", "0"], "rpm"),
        (["--window", "sliding"], "window"),
        (["--replay"], "at least one file"),
        (["a.jsonl"], "without --replay"),
        (["--rubric", "--replay", "a.jsonl"], "expected one of them"),
    ],
)
def test_bad_options_are_one_clear_line(parsed, arguments, message) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parsed(arguments)
    assert "\n" not in str(caught.value)


def test_the_endpoint_name_follows_the_rules_and_recordings_not_the_port(tmp_path) -> None:
    base = JudgeServerConfig()
    assert base.endpoint_name() == base.replace(port=4321, rpm=5, latency_ms=3.0).endpoint_name()
    assert base.endpoint_name() != base.replace(bias={"noise": 0.5}).endpoint_name()
    assert base.endpoint_name() != base.replace(seed=2).endpoint_name()
    file = tmp_path / "x.jsonl.gz"
    names = []
    for text in (b"one", b"two"):
        file.write_bytes(gzip.compress(text, mtime=0))
        names.append(JudgeServerConfig(mode="replay", replay=(file,)).endpoint_name())
    assert names[0] != names[1] and names[0].startswith("assay-replay-")


def test_pairs_are_parsed() -> None:
    assert parse_pairs("a=1, b=2,", "--x") == {"a": "1", "b": "2"}
    assert judge_server_command.__doc__


def test_replay_with_an_equals_sign_and_folders_of_datasets(parsed, tmp_path) -> None:
    for name in ("Natural", "GPTInst"):
        (tmp_path / "LLMBar" / name).mkdir(parents=True)
        (tmp_path / "LLMBar" / name / "dataset.json").write_text(
            json.dumps([{"input": "q", "output_1": "a", "output_2": "b"}])
        )
    config = parsed(["--replay=a.jsonl", "b.jsonl", "--data", str(tmp_path / "LLMBar")])
    assert config.mode == "replay" and config.replay == (Path("a.jsonl"), Path("b.jsonl"))
    assert [row[0] for row in read_datasets(config.data)] == ["GPTInst", "Natural"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="saw no"):
        parsed(["--replay", "a.jsonl", "--data", str(tmp_path / "empty")])
