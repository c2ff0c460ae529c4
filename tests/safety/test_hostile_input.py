"""Rows, studies, names and files from strangers, through the functions that read them and the command line."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.config import read_yaml
from assay.errors import AssayError, ConfigError, DataError, plain_line
from assay.judge_server.replay.recordings import read_datasets, read_exchanges
from assay.store import Store
from assay.studies.catalog import load_study
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.sources import SourceSpec
from support.hostile import ESCAPES, TEXTS

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def alpaca(**fields: object) -> str:
    return json.dumps({"instruction": "i", "input": "", "output": "o", "split": "train", **fields})


def source(tmp_path: Path, *lines: str, **more: object) -> SourceSpec:
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return SourceSpec(loader="alpaca", path="rows.jsonl", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [text for text in TEXTS if text and text != "\ud800"], ids=range(len(TEXTS) - 2))
def test_hostile_text_is_data_and_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    rows = load_examples(source(tmp_path, alpaca(output=text), max_chars=1_000_000), tmp_path)
    assert [row.reference for row in rows] == [text]


def test_ten_megabytes_in_one_row_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:2: saw a (row|line) of"):
        load_examples(source(tmp_path, alpaca(), alpaca(output="x" * 10_000_000)), tmp_path)


def test_json_nested_ten_thousand_deep_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nested too deeply"):
        load_examples(source(tmp_path, alpaca(), '{"a":' * 10_000 + "1" + "}" * 10_000), tmp_path)


def test_billion_laughs_are_refused_before_they_unfold(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    with pytest.raises(ConfigError, match="aliases"):
        read_yaml(tmp_path / "bomb.yaml")


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system [id]", "a: !!python/name:os.system", "[" * 10_000])
def test_yaml_builds_no_objects(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(ConfigError, match="no valid YAML"):
        read_yaml(tmp_path / "study.yaml")


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/x", "a/b", "..", "a\\b", "a\x00b", "a\nb", ESCAPES])
def test_a_study_cannot_name_itself_out_of_its_folder(name: str) -> None:
    with pytest.raises(ConfigError):
        load_study("quickstart", [f"name={json.dumps(name)}"])


def test_a_strangers_store_cannot_write_outside_of_the_cache(tmp_path: Path) -> None:
    """A manifest whose file names climb: fetching the artifact to a worker's disk is refused."""
    store = Store(f"memory://{tmp_path.name}")
    key = "0" * 32
    with store.writing("adapter", key) as artifact:
        artifact.files.append("../../../../owned")
    with pytest.raises(AssayError, match="plain name"):
        store.local_dir("adapter", key, tmp_path / "cache")
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("pack", [gzip.open, lzma.open], ids=["gz", "xz"])
def test_recordings_that_unfold_into_one_endless_line_are_refused_in_bounded_memory(
    tmp_path: Path, pack: object
) -> None:
    suffix = "gz" if pack is gzip.open else "xz"
    bomb = tmp_path / f"replies.jsonl.{suffix}"
    with pack(bomb, "wb") as file:  # type: ignore[operator]
        for _ in range(100):
            file.write(b"[" * 1_000_000)
    assert bomb.stat().st_size < 1_000_000
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from assay.judge_server.replay.recordings import read_exchanges\n"
        "from assay.errors import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: list(read_exchanges(Path(sys.argv[1])))\n"
        "except DataError as error: print(error, file=sys.stderr)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(bomb)], capture_output=True, text=True, check=True)
    assert "a line of" in run.stderr
    assert int(run.stdout) < 60, "MiB beyond what the interpreter itself takes"


def test_a_recording_or_dataset_nested_too_deeply_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 10_000)
    with pytest.raises(DataError):
        read_datasets([tmp_path / "x.json"])
    with pytest.raises(DataError):
        list(read_exchanges(tmp_path / "x.json"))


def test_errors_reach_a_terminal_without_escapes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text(f'"{ESCAPES}"\n')
    for arguments in (
        ["report", f"no such {ESCAPES}\nassay: all is well", "--storage", str(tmp_path)],
        ["score", "--predictions", str(tmp_path / f"p{ESCAPES}.jsonl"), "--scorers", "rouge1", "--out", "x"],
        ["run", f"{ESCAPES}.yaml", "--storage", str(tmp_path)],
    ):
        assert run_app(arguments) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1, said
        assert not [character for character in said[:-1] if not character.isprintable()], said


def test_plain_line_keeps_words() -> None:
    assert plain_line("a\x1b[31mb\r\n c\u202ed é½") == "a [31mb c d é½"
