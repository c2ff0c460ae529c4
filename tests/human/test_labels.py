"""Labels out and in: blind, shuffled, matched by id, and usable as the scorer `human`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.errors import ConfigError, DataError
from assay.human.labels import Answer, export_sheets, import_sheets
from assay.records import Example, Rating
from assay.scoring.protocol import ScoreRequest
from assay.scoring.scorers.human_labels import NOT_LABELLED
from support.shipped import get_task, make_scorer, scorer_spec

ANSWERS = [Answer("Say it.", f"in {n % 20}", f"answer {n % 30}", f"model-{n % 3}", f"x{n}") for n in range(90)]


def export(out: Path, **changes: object) -> list[Path]:
    options = {
        "num_rows": 12,
        "num_annotators": 2,
        "scale": (1.0, 5.0),
        "question": "?",
        "seed": 0,
        "file_format": "csv",
    }
    return export_sheets(ANSWERS, out, **{**options, **changes})  # type: ignore[arg-type]


def rate(sheet: Path, rating_of: dict[str, object]) -> None:
    rows = list(csv.DictReader(sheet.read_text().splitlines(keepends=True)))
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "rating": rating_of.get(row["label_id"], "")} for row in rows)


def test_sheets_are_blind_distinct_and_shuffled_apart(tmp_path: Path) -> None:
    sheets = export(tmp_path / "out")
    texts = [sheet.read_text() for sheet in sheets]
    assert not any("model-" in text or "x1" in text for text in texts)
    ids = [[row["label_id"] for row in csv.DictReader(sheet.read_text().splitlines(keepends=True))] for sheet in sheets]
    assert ids[0] != ids[1]
    assert set(ids[0]) == set(ids[1])
    assert len(set(ids[0])) == 12
    key = json.loads((tmp_path / "out" / "key.json").read_text())
    assert set(key["items"]) == set(ids[0])
    assert all(row["source"].startswith("model-") for item in key["items"].values() for row in item["from"])
    again = export(tmp_path / "again")
    assert [sheet.read_text() for sheet in again] == texts
    assert export(tmp_path / "other", seed=1)[0].read_text() != texts[0]


def test_every_distinct_answer_is_equally_likely(tmp_path: Path) -> None:
    drawn: Counter[str] = Counter()
    for seed in range(100):
        export(tmp_path / str(seed), seed=seed, num_rows=6)
        key = json.loads((tmp_path / str(seed) / "key.json").read_text())
        drawn.update(item["answer_key"] for item in key["items"].values())
    assert len(drawn) == 60  # 20 inputs x 30 answers: 60 pairs occur
    assert max(drawn.values()) <= 10 + 5 * 10**0.5  # expected 10 each
    assert min(drawn.values()) >= 1


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_ratings_come_back_as_the_scorer_human(tmp_path: Path, file_format: str) -> None:
    sheets = export(tmp_path / "out", file_format=file_format)
    key = json.loads((tmp_path / "out" / "key.json").read_text())["items"]
    ids = sorted(key)
    given = [
        {label: 1 + n % 5 for n, label in enumerate(ids)},
        {label: 1 + (n + n % 2) % 5 for n, label in enumerate(ids[:10])},
    ]
    for sheet, ratings in zip(sheets, given, strict=True):
        if file_format == "csv":
            rate(sheet, dict(ratings))
        else:
            rows = [json.loads(line) for line in sheet.read_text().splitlines()]
            sheet.write_text("".join(json.dumps({**r, "rating": ratings.get(r["label_id"], "")}) + "\n" for r in rows))
    labels = import_sheets(tmp_path / "out")
    report = labels.report("t")
    assert (report["items"], report["rated"], report["annotators"]) == (12, 12, {"annotator_1": 12, "annotator_2": 10})
    assert (report["agreement"][0]["n"], report["agreement"][0]["left_out"]) == (10, 2)
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in labels.rows()))
    scorer = make_scorer(scorer_spec("human", labels=str(path)))
    by_key = {key[label]["answer_key"]: label for label in ids}
    scored = 0
    for answer in ANSWERS:
        example = Example(answer.example_id, "instructions", "test", answer.instruction, answer.input, "")
        (outcome,) = scorer.score([ScoreRequest(example, get_task("instructions"), answer.prediction)])
        label = by_key.get(answer.key)
        if label is None:
            assert outcome == NOT_LABELLED
            continue
        both = [ratings[label] for ratings in given if label in ratings]
        assert isinstance(outcome, Rating)
        assert outcome.value == pytest.approx((sum(both) / len(both) - 1) / 4, abs=1e-6)
        scored += 1
    assert scored >= 12


@pytest.mark.parametrize(
    ("rating", "said"),
    [("6", "saw the rating '6'; expected a number from 1 to 5"), ("good", "saw the rating 'good'"), ("nan", "'nan'")],
)
def test_a_rating_off_the_scale_is_named(tmp_path: Path, rating: str, said: str) -> None:
    sheet = export(tmp_path / "out")[0]
    first = next(csv.DictReader(sheet.read_text().splitlines(keepends=True)))["label_id"]
    rate(sheet, {first: rating})
    with pytest.raises(DataError, match=said):
        import_sheets(tmp_path / "out")


def test_sheets_of_spreadsheets_and_formulas(tmp_path: Path) -> None:
    answers = [Answer("Say it.", "", text, "m", "x") for text in ("=1+1", "@all", "-3", "plain")]
    (sheet,) = export_sheets(
        answers, tmp_path / "o", num_rows=4, num_annotators=1, scale=(0, 1), question="", seed=0, file_format="csv"
    )
    shown = {row["answer"] for row in csv.DictReader(sheet.read_text().splitlines(keepends=True))}
    assert shown == {"'=1+1", "'@all", "'-3", "plain"}
    ids = [row["label_id"] for row in csv.DictReader(sheet.read_text().splitlines(keepends=True))]
    sheet.write_text("\ufefflabel_id;rating\n" + "".join(f"{label};0,5\n" for label in ids))
    assert import_sheets(tmp_path / "o").scores.tolist() == [[0.5] * 4]
    sheet.write_text("label_id,rating\nnobody,1\n")
    with pytest.raises(DataError, match="saw label_id 'nobody'"):
        import_sheets(tmp_path / "o")
    sheet.write_text(f"label_id,rating\n{ids[0]},1\n{ids[0]},1\n")
    with pytest.raises(DataError, match="a second time"):
        import_sheets(tmp_path / "o")


def test_too_many_rows_and_an_old_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="saw 60 distinct answers among 90"):
        export(tmp_path / "many", num_rows=61)
    export(tmp_path / "out")
    with pytest.raises(ConfigError, match="earlier export"):
        export(tmp_path / "out")
    with pytest.raises(DataError, match="2 sheets without a rating"):
        import_sheets(tmp_path / "out")
    with pytest.raises(DataError, match=r"saw no key\.json"):
        import_sheets(tmp_path)


def test_the_commands_go_out_and_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prediction": f"p{n}", "reference": f"p{n % 4}", "instruction": "Do.", "model": "m"} for n in range(40)]
    source = tmp_path / "p.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, labels, scored = tmp_path / "out", tmp_path / "labels.jsonl", tmp_path / "scored.jsonl"
    assert run_app(["label", "export", "--predictions", str(source), "--rows", "30", "--out", str(out)]) == 0
    for sheet in (out / "annotator_1.csv", out / "annotator_2.csv"):
        ids = sorted(row["label_id"] for row in csv.DictReader(sheet.read_text().splitlines(keepends=True)))
        rate(sheet, {label: 1 + n % 5 for n, label in enumerate(ids)})
    assert run_app(["label", "import", "--dir", str(out), "--out", str(labels)]) == 0
    said = capsys.readouterr().out
    assert "30 of 30 answers rated" in said
    assert "kappa" in said
    command = ["score", "--predictions", str(source), "--scorers", "human,token_f1", "--out", str(scored)]
    assert run_app([*command, "--set", f"human.labels={labels}"]) == 0
    assert sum(json.loads(line)["human"] is not None for line in scored.read_text().splitlines()) == 30
    report = tmp_path / "report.json"
    command = ["metaeval", "scores", "--table", str(scored), "--human", "human", "--scorer", "token_f1"]
    assert run_app([*command, "--out", str(report)]) == 0
    (mean,) = json.loads(report.read_text())["scorers"]["token_f1"]["human_mean"]
    assert mean["labelled"] == 30
    assert mean["estimate"]["low"] < mean["estimate"]["value"] < mean["estimate"]["high"]
    assert "human scores alone" in capsys.readouterr().out
    assert run_app([*command[:-2], "--scorer", "token_f1", "--arm", "nowhere", "--out", str(report)]) == 2
    assert run_app(["score", "--predictions", str(source), "--scorers", "human", "--out", str(scored)]) == 2
    assert "assay label import" in capsys.readouterr().err
    assert run_app(["label", "export", "--rows", "3", "--out", str(tmp_path / "x")]) == 2


def test_labels_may_lie_beside_the_sheets_and_be_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheets = export(tmp_path / "out")
    key = json.loads((tmp_path / "out" / "key.json").read_text())["items"]
    for sheet in sheets:
        rate(sheet, dict.fromkeys(key, 3))
    out = tmp_path / "out" / "labels.jsonl"
    for _ in range(2):
        assert run_app(["label", "import", "--dir", str(tmp_path / "out"), "--out", str(out)]) == 0
        assert "12 of 12 answers rated" in capsys.readouterr().out
    (tmp_path / "out" / "ada.csv").write_text(sheets[0].read_text())
    assert run_app(["label", "import", "--dir", str(tmp_path / "out"), "--out", str(out)]) == 0
    assert "no sheets    ada.csv  (" in capsys.readouterr().out
    beside = tmp_path / "out" / "annotator_all.jsonl"
    assert run_app(["label", "import", "--dir", str(tmp_path / "out"), "--out", str(beside)]) == 2
    assert "would be read as a sheet" in capsys.readouterr().err
