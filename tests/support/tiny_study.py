"""A whole study that is small in every direction: the quickstart with overrides alone, run as users run it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
PATIENCE_S = 900
"""For one command; a loaded machine is slow, not wrong."""

TINY: Mapping[str, str] = {
    "name": "tiny",
    "data.sources.instructions.num_train": "60",
    "data.sources.toy_sentiment.num_train": "40",
    "data.sources.toy_arithmetic.num_train": "40",
    "base_models": "[tiny]",
    "tiny_base": "{num_documents: 1500, num_steps: 60}",
    "grid.tasks": "[toy_sentiment, toy_arithmetic]",
    "grid.sizes": "[0, 8]",
    "grid.draws": "2",
    "grid.validation_rows": "8",
    "training_seeds_at_zero": "[0, 1]",
    "train.num_epochs": "1",
    "evaluation.target_rows": "12",
    "evaluation.instruction_rows": "12",
    "evaluation.instruction_max_new_tokens": "8",
    "statistics.resamples": "200",
    "resources.num_cpus": "2",
}
"""Two tasks, N of 0 and 8: 6 trainings, 12 predictions artifacts, 144 answers."""

CANARIES: Mapping[str, str] = {
    "OPENAI_API_KEY": "canary-judge-key-93d2e1",
    "HF_TOKEN": "canary-hub-token-5a07bc",
    "AWS_SECRET_ACCESS_KEY": "canary-aws-secret-7b1f44",
    "MLFLOW_TRACKING_PASSWORD": "canary-mlflow-password-c81e02",
}
"""Secrets in the environment of every study of the tests; test_secrets looks for them in all that a study leaves."""


def settings(changes: Mapping[str, str] | None = None, base: Mapping[str, str] = TINY) -> list[str]:
    """`--set` arguments of the tiny study with these fields changed."""
    return [part for name, value in {**base, **(changes or {})}.items() for part in ("--set", f"{name}={value}")]


def environment(**changes: str) -> dict[str, str]:
    """That of somebody who activated the virtual environment, without a network and without a Ray to join."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    kept["PATH"] = os.pathsep.join([str(BIN), kept.get("PATH", "/usr/bin:/bin")])
    if "PYTHONPATH" in changes and "PYTHONPATH" in kept:
        changes["PYTHONPATH"] += os.pathsep + kept["PYTHONPATH"]
    return {**kept, **CANARIES, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1", **changes}


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    def one_line(self) -> str:
        """The one line that an error is; any more is a failure of the test."""
        lines = [line for line in self.err.splitlines() if line.startswith("assay: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip().splitlines()[-1] == lines[0], self.err
        assert "Traceback" not in self.err, self.err
        return lines[0]


def assay(*arguments: str, timeout_s: float = PATIENCE_S, **changes: str) -> Finished:
    """Run the command line in a process of its own."""
    ended = subprocess.run(
        [str(BIN / "assay"), *arguments],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Finished(ended.returncode, ended.stdout, ended.stderr)


_FINISHED: dict[Path, Finished] = {}


def finished_study(folder: Path) -> Path:
    """Storage with the finished tiny study in it: made once for all tests below `folder`, and not to be changed.

    Studies of other names may be added: they find base, adapters and predictions there.
    """
    storage = folder / "finished-study"
    if storage not in _FINISHED:
        _FINISHED[storage] = run_tiny(storage)
    ended = _FINISHED[storage]
    assert ended.code == 0, ended.err
    return storage


def finished_run(storage: Path) -> Finished:
    """What the command of a `finished_study` said."""
    return _FINISHED[storage]


def run_tiny(storage: Path, *further: str, changes: Mapping[str, str] | None = None, **environ: str) -> Finished:
    """`assay run` of the tiny study."""
    return assay("run", "quickstart", "--storage", str(storage), *settings(changes), *further, **environ)


def table(storage: Path, name: str, study: str = "tiny") -> list[dict[str, object]]:
    """Rows of a result table."""
    rows: list[dict[str, object]] = json.loads((storage / "studies" / study / "tables" / f"{name}.json").read_text())
    return rows


def table_bytes(storage: Path, study: str = "tiny") -> dict[str, str]:
    """Every result table by name, as a digest of its bytes."""
    files = sorted((storage / "studies" / study / "tables").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def artifact_files(storage: Path, kinds: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
    """Inode and time of every file of every finished artifact: what is written again changes one of them."""
    found = {}
    for manifest in sorted((storage / "artifacts").glob("*/*/manifest.json")):
        if kinds and manifest.parent.parent.name not in kinds:
            continue
        for path in manifest.parent.rglob("*"):
            if path.is_file():
                state = path.stat()
                found[str(path.relative_to(storage))] = (state.st_ino, state.st_mtime_ns)
    return found


def closed_port() -> int:
    """A port of loopback where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def link_artifacts(source: Path, target: Path, kinds: Sequence[str]) -> None:
    """Give another storage the artifacts of these kinds, so that it need not make them again."""
    for kind in kinds:
        shutil.copytree(source / "artifacts" / kind, target / "artifacts" / kind, copy_function=os.link)


def ledger_calls(storage: Path) -> dict[str, str]:
    """Key and status of every judge call that was paid for."""
    path = storage / "ledger.db"
    if not path.exists():
        return {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)
    try:
        return dict(connection.execute("select key, status from calls"))
    except sqlite3.OperationalError:  # its tables are not made yet
        return {}
    finally:
        connection.close()
