"""A judge of whose replies none can be read: the command ends with 1, the commonest reason and a raw reply."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.errors import DataError, StageError
from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.judge_server.server.faults import WRONG_FORMAT
from assay.llm.endpoint import EndpointSpec
from assay.records import ScoreRow, to_table
from assay.scoring.jobs import KIND, NO_PREDICTION, SCORES_FILE, judge_spec, make_batches, scores_key
from assay.store import Store
from assay.studies.scores import ScoreJobs, check_judged, judge_protocol
from assay.studies.spec import JudgeConfig


@pytest.fixture(scope="module")
def server() -> Iterator[JudgeServer]:
    with start_judge_server(faults={"format": 1.0}) as running:
        yield running


def said_at_the_end(capfd: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("assay:")]
    return line


def test_pairs_and_ranks_of_which_nothing_can_be_read_end_with_1(
    server: JudgeServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, answers = tmp_path / "Mine.json", tmp_path / "answers.jsonl"
    rows = [{"input": f"Say {n}.", "output_1": f"It is {n}.", "output_2": "No.", "label": 1} for n in range(3)]
    data.write_text(json.dumps(rows))
    answers.write_text("\n".join(json.dumps({"prompt": "q", "model": m, "response": m}) for m in ("one", "two")))
    judge = ["--judge", "m", "--base-url", server.base_url, "--storage", str(tmp_path / "store")]
    pairs = ["metaeval", "pairs", "--data", str(data), "--tracking", "none", *judge, "--out", str(tmp_path / "p.json")]
    rank = ["rank", "--answers", str(answers), *judge, "--out", str(tmp_path / "r.json")]
    for flags in (pairs, rank, [*rank, "--protocol", "cot", "--baseline", "one"]):
        assert run_app(flags) == 1, flags
        line = said_at_the_end(capfd)
        assert "unparsable" in line and any(text[:20] in line for text in WRONG_FORMAT), line


def test_scores_of_which_nothing_can_be_read_are_written_and_more_draws_go_on(
    server: JudgeServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "predictions.jsonl", tmp_path / "scored.jsonl"
    rows.write_text("\n".join(json.dumps({"prediction": text, "reference": "yes"}) for text in ("yes", "no")))
    flags = ["score", "--predictions", str(rows), "--scorers", "exact_match,judge", "--storage", str(tmp_path)]
    flags += ["--set", f"judge.base_url={server.base_url}", "--set", "judge.model=m", "--keep-replies"]
    flags += ["--out", str(out)]
    assert run_app(flags) == 1
    assert "unparsable" in said_at_the_end(capfd)
    scored = [json.loads(row) for row in out.read_text().splitlines()]
    assert [row["exact_match"] for row in scored] == [1.0, 0.0]
    assert all(row["judge_reply"] in WRONG_FORMAT for row in scored)
    calls = "select count(*) from calls"
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute(calls).fetchone() == (4,)  # each asked again once, as the protocol does
        assert run_app([*flags, "--retry-unreadable", "2"]) == 1
        assert ledger.execute(calls).fetchone() == (12,)  # two further draws; what was asked is not asked again


def test_rows_without_anything_to_compare_with_are_bad_input(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows, out = tmp_path / "predictions.jsonl", tmp_path / "scored.jsonl"
    rows.write_text("\n".join(json.dumps({"prediction": text}) for text in ("yes", "no")))
    flags = ["score", "--predictions", str(rows), "--scorers", "exact_match", "--out", str(out)]
    assert run_app(flags) == 2
    assert "no reference: 2" in said_at_the_end(capfd)
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        (
            [*(("unparsable", "Both have merits."),) * 3, ("filtered", "")],
            StageError,
            r"none of 4 rows: 3 of 4 unparsable, as in 'Both have merits\.'",
        ),
        ([(NO_PREDICTION, "")] * 2, DataError, "no prediction in any of 2 rows"),
    ],
)
def test_a_study_whose_judge_scored_nothing_says_why_before_its_tables(
    tmp_path: Path, rows: list[tuple[str, str]], error: type[Exception], said: str
) -> None:
    store = Store(str(tmp_path))
    spec = judge_spec("judge", judge_protocol(JudgeConfig(), "strict"), EndpointSpec())
    first, second = make_batches([("p" * 32, "e" * 32)]), make_batches([("q" * 32, "e" * 32)])

    def put(key: str, found: list[ScoreRow]) -> None:
        with store.writing(KIND, key) as writer:
            writer.table(SCORES_FILE, to_table(found, ScoreRow))

    put(scores_key(spec, first[0]), [ScoreRow("p", str(n), "judge", None, *row) for n, row in enumerate(rows)])
    put(scores_key(spec, second[0]), [ScoreRow("q", "0", "judge", 0.5, None, "5")])
    check_judged(store, ScoreJobs((), None, (first,)))
    check_judged(store, ScoreJobs((), spec, (first, second)))
    with pytest.raises(error, match=said):
        check_judged(store, ScoreJobs((), spec, (first,)))
