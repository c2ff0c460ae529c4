"""Recorded replies and recorded verdicts on pairs: read by our parsers, against people and published figures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError, DataError
from assay.judging.pairs import read_pair_files, recorded_report
from assay.judging.replies import parse_range, replies_report
from assay.row_files import lookup, read_rows, subset_names


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    data = "\n".join(map(json.dumps, rows)).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


ITEMS = [{"doc": number // 3, "system": f"s{number % 3}", "human": {"quality": number % 5 + 1}} for number in range(12)]


def test_our_reading_counts_and_not_the_score_in_the_file(tmp_path: Path) -> None:
    items = write(tmp_path / "items.jsonl.gz", ITEMS)
    rows = [{**item, "completion": f"Final score: {item['human']['quality']}", "score": 3} for item in ITEMS]
    rows[4]["completion"], rows[5]["completion"] = "No idea.", None
    report = replies_report(write(tmp_path / "replies.jsonl", rows), items, ["doc", "system"], "quality", 1, 5, "doc")
    assert (report["asked"], report["n"], report["unscored"]) == (12, 10, 2)
    for name in ("spearman", "pearson", "kendall", "spearman_within_group"):
        assert report[name]["value"] == pytest.approx(1.0)
    assert report["items_without_reply"] == 0


def test_several_replies_are_averaged_over_those_that_parse(tmp_path: Path) -> None:
    items = write(tmp_path / "items.jsonl", [{"id": n, "gold": float(n)} for n in range(4)])
    texts = [["1", "1"], ["2", "?", "2"], ["3", "2"], ["3", "3", "no"]]
    replies = write(tmp_path / "replies.jsonl", [{"id": n, "completions": t} for n, t in enumerate(texts[:3])])
    report = replies_report(replies, items, ["id"], "gold", 1, 3)
    assert report["completions"] == {"asked": 7, "scored": 6, "unscored": 1}
    assert report["items_without_reply"] == 1 and report["spearman"]["value"] == pytest.approx(1.0)
    assert report["spearman_within_group"]["value"] is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"on": ["doc"]}, "a second time"),
        ({"on": ["nope"]}, "saw no field 'nope'"),
        ({"on": []}, "--on: saw no field"),
        ({"human": "missing"}, "saw no number under it"),
        ({"low": 5.0}, "LO below HI"),
        ({"group": "nope"}, "--group nope"),
    ],
)
def test_bad_questions_about_replies_are_told_in_one_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    items = write(tmp_path / "items.jsonl", ITEMS)
    replies = write(tmp_path / "replies.jsonl", [{**ITEMS[0], "completion": "3"}])
    asked = {"on": ["doc", "system"], "human": "quality", "low": 1.0, "high": 5.0} | change
    with pytest.raises((ConfigError, DataError), match=says) as caught:
        replies_report(replies, items, **asked)
    assert "\n" not in str(caught.value)


def test_a_reply_without_an_item_is_refused(tmp_path: Path) -> None:
    items = write(tmp_path / "items.jsonl", ITEMS)
    replies = write(tmp_path / "replies.jsonl", [{"doc": 99, "system": "s0", "completion": "3"}])
    with pytest.raises(DataError, match="saw no item with doc=99"):
        replies_report(replies, items, ["doc", "system"], "quality", 1, 5)


def test_ranges_and_fields() -> None:
    assert parse_range("1,5") == (1.0, 5.0) and parse_range("-1, 2.5") == (-1.0, 2.5)
    for text in ("1", "a,b", "1,2,3", "nan,1"):
        with pytest.raises(ConfigError, match="--range"):
            parse_range(text)
    assert lookup({"a": 1, "human": {"a": 2, "b": 3}}, "a") == 1 and lookup({"human": {"b": 3}}, "b") == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "saw no rows"), ("[1]", "item 0: saw a int"), ('{"a": 1}\n{', ":2: saw"), ("[", "no valid JSON")],
)
def test_broken_files_are_told_with_their_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_rows(path)


def test_subsets_are_named_by_their_file_or_folder() -> None:
    files = [Path("/a/Natural/dataset.json"), Path("/a/GPTInst/dataset.json"), Path("/b/Manual.json.gz")]
    assert subset_names(files) == ["Natural", "GPTInst", "Manual"]


def test_published_correlations_come_out_of_the_raw_replies(shared_data: Path) -> None:
    summeval, chat = shared_data / "summeval", shared_data / "topical_chat"
    for dimension, spearman in (("coherence", 0.448), ("consistency", 0.557)):
        replies = summeval / f"replies/gpt-4-0314.rts.{dimension}.jsonl.gz"
        report = replies_report(
            replies, summeval / "summaries.jsonl.gz", ["doc_id", "system"], dimension, 1, 5, "doc_id"
        )
        assert report["spearman"]["value"] == pytest.approx(spearman, abs=0.01)
        assert report["spearman"]["low"] < spearman < report["spearman"]["high"]
        assert report["n"] + report["unscored"] == 1200
    for dimension, pearson in (("coherence", 0.505), ("engagingness", 0.564)):
        replies = chat / f"replies/rate_explain.{dimension}.jsonl.gz"
        report = replies_report(replies, chat / "items.jsonl.gz", ["index"], dimension, 1, 3)
        assert report["pearson"]["value"] == pytest.approx(pearson, abs=0.01)


def recorded(*paths: Path, **options: Any) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = recorded_report(read_pair_files(paths, **options), "strict").as_json()["runs"]
    return runs


def test_reward_models_have_their_published_accuracy_on_judgebench(shared_data: Path) -> None:
    runs = recorded(shared_data / "judgebench/pairs_gpt4o.jsonl.gz")
    expected = json.loads((shared_data / "judgebench/expected.json").read_text())["accuracy_percent"]
    assert {run["judge"]: round(100 * run["accuracy"], 2) for run in runs} == expected
    assert all(run["positional_agreement"] is None and run["n"] == 350 for run in runs)


def test_recorded_reviews_agree_with_people_on_faireval(shared_data: Path) -> None:
    folder = shared_data / "faireval"
    review = folder / "reviews/vicuna-13b_20230322-clean-lang__review_gpt35_vicuna-13b.jsonl.gz"
    (run,) = recorded(folder / "human_labels.jsonl.gz", replies=review, on=["question_id"])
    assert run["agreement_with_gold"]["value"] == 42 / 80
    assert run["n"] == 66 and run["coverage"]["asked"] == 80  # 14 of the human verdicts are ties


def test_both_orders_of_recorded_scores_give_position_consistency(shared_data: Path) -> None:
    runs = recorded(shared_data / "pair_scores/cherry_vs_alpaca.jsonl.gz")
    found = {run["subset"].split(" ", 1)[1]: round(100 * run["positional_agreement"], 1) for run in runs}
    assert found == {
        "vicuna gpt-4": 67.5, "vicuna gpt-3.5-turbo": 27.5, "koala gpt-4": 81.7, "koala gpt-3.5-turbo": 40.6,
    }  # fmt: skip
    assert all(run["accuracy"] is None and run["intervals"]["positional_agreement"]["low"] for run in runs)


def test_head_to_head_choices_are_read_and_joined_over_orders(shared_data: Path) -> None:
    expected = json.loads((shared_data / "summeval/expected_shared.json").read_text())
    rows = [row for part in expected.values() if isinstance(part, list) for row in part if row.get("prompt") == "h2h"]
    assert len(rows) == 2
    for row in rows:
        (run,) = recorded(shared_data / f"summeval/replies/{row['judge']}.h2h.{row['dimension']}.jsonl.gz")
        assert run["n"] == row["pairs_with_human_preference"] and run["coverage"]["asked"] == row["pairs"]
        for name in ("accuracy_original_order", "accuracy_swapped_order", "positional_agreement"):
            assert round(100 * run[name], 2) == row[name]


def test_pairs_without_anything_to_compare_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"question": "q", "answer_1": "a", "answer_2": "b"}])
    with pytest.raises(DataError, match="neither a gold choice nor a recorded verdict"):
        read_pair_files([path])
    path = write(tmp_path / "y.jsonl", [{"question": "q", "answer_1": "a", "answer_2": "b", "label": "A>B"}])
    with pytest.raises(DataError, match="saw no recorded verdict"):
        recorded(path)


def test_a_pair_that_nobody_labelled_counts_for_consistency_alone(tmp_path: Path) -> None:
    rows = [
        {
            "question": "q",
            "answer_1": "a",
            "answer_2": "b",
            "label": label,
            "completion": "9 1",
            "completion_swapped": "1 9",
        }
        for label in (1, None)
    ]
    report = recorded_report(read_pair_files([write(tmp_path / "pairs.jsonl", rows)]), "strict").as_json()
    (run,) = report["runs"]
    assert (run["n"], run["accuracy"]) == (1, 1.0)
    assert run["intervals"]["positional_agreement"]["n"] == 2


THOUGHT, CUT = "<think>a 1, or (a) 1,9</think>", "<think>a 1, or (a) 1,9"


def test_recorded_thinking_is_no_score(tmp_path: Path) -> None:
    items = write(tmp_path / "items.jsonl", [{"id": n, "gold": float(n)} for n in range(1, 5)])
    texts = [[THOUGHT + "2", "2"], [THOUGHT + "3", CUT], [CUT], [THOUGHT + "5"]]
    rows = [{"id": n, "completions": text} for n, text in enumerate(texts, 1)]
    report = replies_report(write(tmp_path / "replies.jsonl", rows), items, ["id"], "gold", 1, 5)
    assert report["completions"] == {"asked": 6, "scored": 4, "unscored": 2}
    assert (report["n"], report["unscored"]) == (3, 1) and report["spearman"]["value"] == pytest.approx(1.0)


@pytest.mark.parametrize(("first", "second"), [("9,8", "8,9"), (THOUGHT + "9,8", "8,9"), ("9.5, 8", THOUGHT + "3,4")])
def test_recorded_pairs_of_scores_with_a_comma_are_read(tmp_path: Path, first: str, second: str) -> None:
    pair = {"question": "q", "answer_1": "a", "answer_2": "b", "label": 1}
    rows = [{**pair, "completion": first, "completion_swapped": second}]
    (run,) = recorded(write(tmp_path / "pairs.jsonl", rows))
    assert (run["accuracy_original_order"], run["positional_agreement"]) == (1.0, 1.0)


def test_a_recorded_verdict_that_was_only_thought_is_none(tmp_path: Path) -> None:
    pair = {"question": "q", "answer_1": "a", "answer_2": "b", "label": 2}
    rows = [{**pair, "completion": THOUGHT + "9,8"}, {**pair, "question": "r", "completion": CUT}]
    ((found,),) = (file.recorded for file in read_pair_files([write(tmp_path / "pairs.jsonl", rows)]))
    assert [verdicts.original for verdicts in found.verdicts] == [1, None]


def test_rows_without_a_field_to_join_on_have_nothing_in_common(tmp_path: Path) -> None:
    pair = {"question": "q", "answer_1": "a", "answer_2": "b", "label": 1}
    with_id, without = write(tmp_path / "a.jsonl", [{**pair, "id": 1}]), write(tmp_path / "b.jsonl", [pair])
    reply = {"completion": "9 1"}
    for data, replies, at_fault in ((without, [{**reply, "id": 1}], "b.jsonl"), (with_id, [reply], "replies.jsonl")):
        path = write(tmp_path / "replies.jsonl", replies)
        with pytest.raises(DataError, match=rf"{at_fault}: row 0: saw no field 'id'"):
            read_pair_files([data], replies=path, on=["id"])


def test_a_file_of_replies_is_read_once_for_all_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = {"question": "q", "answer_1": "a", "answer_2": "b", "label": 1}
    files = [write(tmp_path / f"{name}.jsonl", [{**pair, "id": name}]) for name in "abc"]
    replies = write(tmp_path / "replies.jsonl", [{"id": name, "completion": "9 1"} for name in "abc"])
    seen: list[Path] = []
    monkeypatch.setattr("assay.judging.pairs.read_rows", lambda path: seen.append(path) or read_rows(path))
    assert len(recorded(*files, replies=replies, on=["id"])) == 3
    assert seen.count(replies) == 1
