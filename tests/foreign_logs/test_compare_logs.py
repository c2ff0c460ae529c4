"""Logs of other tools: read without them, paired by item, refused in one line where they are something else."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ttest_rel
from typer.testing import CliRunner

from assay.cli import app
from assay.commands.compare_logs import compare_logs
from assay.errors import ConfigError
from assay.foreign_logs import inspect_files
from assay.foreign_logs.logs import read_log
from assay.metaeval.statistics.paired_items import paired_items

HEADER = {"version": 2, "status": "success", "eval": {"task": "arith", "model": "m/one"}}


def summary(number: int, value: object, epoch: int = 1, **more: object) -> dict[str, Any]:
    return {"id": number, "epoch": epoch, "input": "1+1", "target": "2", "scores": {"match": {"value": value}}, **more}


def eval_file(path: Path, summaries: list[dict[str, Any]], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    members = {"header.json": json.dumps(HEADER), "summaries.json": json.dumps(summaries)}
    for item in summaries[:3]:
        members[f"samples/{item['id']}_epoch_{item['epoch']}.json"] = json.dumps({**item, "messages": []})
    if method == 93:
        return zstd_zip(path, members)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def zstd_zip(path: Path, members: Mapping[str, str]) -> Path:
    """A zip of method 93, as newer inspect-ai writes it: stored by hand, since zipfile cannot."""
    body, directory = b"", b""
    for name, text in members.items():
        data = text.encode()
        packed = pa.Codec("zstd").compress(data, asbytes=True)
        common = struct.pack("<5H3I2H", 63, 0, 93, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0)
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 63) + common + struct.pack("<3H2I", 0, 0, 0, 0, len(body)) + name.encode()
        )
        body += b"PK\x03\x04" + common + name.encode() + packed
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93])
def test_an_eval_file_is_read_whatever_its_compression(tmp_path: Path, method: int) -> None:
    rows = [
        summary(1, "C"),
        summary(2, "I"),
        summary(1, "P", epoch=2),
        summary(3, 0.5),
        summary(4, None),
        summary(5, 1, error="x"),
    ]
    log = read_log(eval_file(tmp_path / "a.eval", rows, method=method))
    assert (log.task, log.model, log.num_samples) == ("arith", "m/one", 6)
    assert log.scores["match"]["1"] == [1.0, 0.5]
    assert log.scores["match"]["2"] == [0.0]
    assert log.unscored == {"match: no number": 1, "error": 1}


def test_a_json_log_and_a_run_that_did_not_end(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**HEADER, "samples": [summary(1, {"f1": 0.5, "em": True})]}))
    assert read_log(tmp_path / "a.json").scores == {"match.f1": {"1": [0.5]}, "match.em": {"1": [1.0]}}
    with zipfile.ZipFile(tmp_path / "b.eval", "w") as archive:
        archive.writestr("_journal/start.json", json.dumps(HEADER))
        archive.writestr("_journal/summaries/1.json", json.dumps([summary(7, "C")]))
    assert read_log(tmp_path / "b.eval").scores == {"match": {"7": [1.0]}}


def lm_eval_file(path: Path, values: list[float]) -> Path:
    rows = [
        {
            "doc_id": i,
            "doc": {},
            "target": "x",
            "resps": [["y"]],
            "filter": "none",
            "metrics": ["acc"],
            "doc_hash": f"h{i}",
            "acc": v,
        }
        for i, v in enumerate(values)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_sample_files_are_compared_as_a_paired_t_test(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 200).astype(float)
    b = np.where(rng.random(200) < 0.2, 1.0, a)
    files = [lm_eval_file(tmp_path / f"samples_t_{n}.jsonl", list(v)) for n, v in (("a", a), ("b", b))]
    (row,) = compare_logs(*map(read_log, files), margin=0.02)
    oracle = ttest_rel(b, a)
    assert row["p"] == pytest.approx(oracle.pvalue)
    interval = oracle.confidence_interval()
    assert (row["low"], row["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (row["word"], row["num_items"]) == ("better", 200)
    run = CliRunner().invoke(app, ["compare", *map(str, files), "--json"])
    assert run.exit_code == 0 and json.loads(run.stdout)["rows"][0]["word"] == "better"


def test_a_family_is_adjusted_by_holm_and_equal_models_are_equivalent() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(4000)
    close = base + rng.normal(0, 0.01, 4000)
    far = base + rng.normal(0.1, 0.2, 4000)
    same, better = paired_items([(list(base), list(close)), (list(base), list(far))], margin=0.02)
    assert (same.word, better.word) == ("equivalent", "better")
    assert better.p_holm == pytest.approx(2 * better.p)
    few = paired_items([([0.0] * 3, [1.0] * 3)])[0]
    assert few.word == "undecided" and few.as_json()["low"] is None


def test_items_that_all_differ_alike_are_decided_by_their_signs() -> None:
    (all_better,) = paired_items([([0.1] * 20, [0.4] * 20)])  # rounding gives their differences a spread of 1e-17
    assert all_better.word == "better" and all_better.p == pytest.approx(2**-19)
    assert all_better.as_json()["low"] is None
    (worse,) = paired_items([([1.0] * 6, [0.0] * 6)])
    assert worse.word == "worse" and worse.p == pytest.approx(2**-5)


def test_models_that_agree_on_every_item_are_equivalent_once_there_are_enough_of_them() -> None:
    answers = [float(i % 2) for i in range(200)]
    (many,) = paired_items([(answers, answers)], margin=0.02)  # at most 1 - .05^(1/200) = .0149 of items can differ
    assert many.word == "equivalent" and many.p == 1
    assert paired_items([(answers[:100], answers[:100])], margin=0.02)[0].word == "undecided"
    assert paired_items([(answers, answers)])[0].word == "undecided"
    assert paired_items([([0.0] * 200, [0.0] * 200)], margin=0.02)[0].word == "undecided"  # nothing shows the range


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.eval", b"no zip", "no zip archive"),
        ("a.json", json.dumps({**HEADER, "version": 3}).encode(), "version 3"),
        ("a.json", b"{", "no JSON"),
        ("a.jsonl", b'{"a": 1}\n', "line 1"),
        ("a.jsonl", b'{"doc_id": 0, "resps": []}\n\xff\xfe\n', "line 2"),
        ("a.json", b"\xff\xfe{", "no JSON"),
        ("a.json", json.dumps({**HEADER, "samples": {"1": 2}}).encode(), "saw a dict; expected a list"),
        ("a.json", json.dumps({**HEADER, "samples": [{"id": 1, "scores": [1]}]}).encode(), "sample 1: saw scores"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_log(tmp_path / name)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_hundred_thousand_samples_are_read_from_their_summaries(tmp_path: Path) -> None:
    rows = [summary(i, "C" if i % 3 else "I", input="x" * 800) for i in range(100_000)]
    path = tmp_path / "big.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("header.json", json.dumps(HEADER))
        archive.writestr("summaries.json", json.dumps(rows))
    assert read_log(path).num_samples == 100_000


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, 93])
def test_a_log_that_was_cut_or_changed_anywhere_is_refused_in_one_line_or_read(tmp_path: Path, method: int) -> None:
    whole = eval_file(tmp_path / "whole.eval", [summary(i, "C") for i in range(40)], method=method).read_bytes()
    rng = np.random.default_rng(0)
    for number in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        if number % 3 == 0:
            del data[int(rng.integers(0, len(data))) :]
        (tmp_path / "bad.eval").write_bytes(bytes(data))
        try:
            read_log(tmp_path / "bad.eval")
        except ConfigError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, 93])
def test_no_member_may_grow_beyond_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    path = eval_file(tmp_path / "a.eval", [summary(i, "C") for i in range(400)], method=method)
    monkeypatch.setattr(inspect_files, "MAX_MEMBER_BYTES", 20_000)
    with pytest.raises(ConfigError, match="at most 20000"):
        read_log(path)


INSPECT_A = {"match": 2 / 3, "includes": 0.75}
INSPECT_B = {"match": 0.75, "includes": 5 / 6}
LM_EVAL = {"acc": 0.25, "acc_norm": 0.25}
"""`accuracy` of each log's results, as the tools wrote it."""
WRITTEN = Path(__file__).with_name("written_by_the_tools")


def test_logs_that_the_tools_wrote_have_the_means_that_the_tools_reported() -> None:
    logs = [read_log(WRITTEN / f"inspect_0.3.285_{name}.eval") for name in ("a", "b")]
    for log in logs:
        assert (log.task, log.model, log.num_samples, log.unscored) == ("sums", "mockllm/model", 24, {})
        assert all(len(repeats) == 2 for scores in log.scores.values() for repeats in scores.values())
    means = [{name: np.mean(list(scores.values())) for name, scores in log.scores.items()} for log in logs]
    assert means == [pytest.approx(INSPECT_A), pytest.approx(INSPECT_B)]
    rows = compare_logs(*logs, margin=0.02)
    assert {row["num_items"] for row in rows} == {12}
    samples = read_log(WRITTEN / "samples_sums_lm_eval_0.4.13.jsonl")
    assert {name: np.mean(list(scores.values())) for name, scores in samples.scores.items()} == LM_EVAL
    assert samples.num_samples == 16
