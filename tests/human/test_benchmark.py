"""The human benchmark on small sets with planted truth: counts, scales, ceilings, tests, and files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from assay.cli import run_app
from assay.errors import DataError
from assay.human.sets import IS_REFERENCE, read_sets

TEXT = "the cat sat on a mat while rain fell over old stone houses near green hills and a river"
WORDS = TEXT.split()
ARGUMENTS = ["--scorers", "rouge1,exact_match", "--resamples", "200", "--tracking", "none"]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def text(rng: np.random.Generator, reference: str, kept: float) -> str:
    """A text that keeps a share of the reference's words and replaces the others."""
    return " ".join(word if rng.random() < kept else f"x{rng.integers(50)}" for word in reference.split())


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.permutation(WORDS)[:10])


def make_summeval(folder: Path, rng: np.random.Generator) -> None:
    documents, summaries, replies = [], [], []
    for number in range(20):
        references = [sentence(rng) for _ in range(3)]
        documents.append({"id": f"d{number}", "article": " ".join(references), "references": references})
        for system in range(4):
            kept = float(rng.random())
            experts = [{"quality": int(np.clip(round(1 + 4 * kept + rng.normal() / 3), 1, 5))} for _ in range(3)]
            human = {"quality": float(np.mean([row["quality"] for row in experts]))}
            summary = text(rng, references[0], kept)
            key = {"doc_id": f"d{number}", "system": f"s{system}"}
            summaries.append({**key, "summary": summary, "human": human, "expert_annotations": experts})
            replies.append(
                {**key, "completion": f"Fine. Score: {experts[0]['quality']}" if number else "I cannot say."}
            )
    write(folder / "documents.jsonl.gz", documents)
    write(folder / "summaries.jsonl.gz", summaries)
    write(folder / "replies" / "a-judge.rts.quality.jsonl.gz", replies)
    write(folder / "replies" / "a-judge.mcq.quality.jsonl.gz", replies)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    make_summeval(folder / "summeval", rng)
    chat = []
    for number in range(15):
        truth = sentence(rng)
        for system, kept in (("Original Ground Truth", 1.0), ("a", 0.9), ("b", 0.4), ("c", 0.1)):
            human = {"coherence": 1 + 2 * kept, "engagingness": 1 + 2 * kept, "naturalness": 3, "groundedness": 1}
            human |= {"understandability": 1, "overall": 1 + 4 * kept}
            row = {"index": len(chat), "dialogue": f"dialogue {number}", "system": system, "human": human}
            chat.append({**row, "response": text(rng, truth, kept)})
    write(folder / "topical_chat" / "items.jsonl.gz", chat)
    bagel, qags, sources = [], [], []
    for number in range(40):
        reference, kept = sentence(rng), float(rng.random())
        row = {"doc": str(number), "system": None, "output": text(rng, reference, kept)}
        bagel.append(
            {**row, "source": f"inform({number})", "references": [reference], "human": {"quality": 1 + 5 * kept}}
        )
        qags.append({**row, "human": {"fact": round(kept)}})
        sources.append({"doc": str(number), "source": reference, "references": [reference]})
    write(folder / "human_scores" / "bagel.jsonl.gz", bagel)
    write(folder / "human_scores" / "qags_cnn.jsonl.gz", qags)
    write(folder / "human_scores" / "qags_cnn.documents.jsonl.gz", sources)
    return folder


def test_sets_know_their_scales_references_and_documents(data: Path) -> None:
    sets = {part.name: part for part in read_sets(data)}
    assert list(sets) == ["summeval", "topical_chat", "bagel", "qags_cnn"]
    assert {name: (part.num_rows, len(set(part.docs))) for name, part in sets.items()} == {
        "summeval": (80, 20),
        "topical_chat": (60, 15),
        "bagel": (40, 40),
        "qags_cnn": (40, 40),
    }
    assert all(0 <= part.human.min() < part.human.max() <= 1 for part in sets.values())
    assert [part.has_references for part in sets.values()] == [True, True, True, False]
    assert [len(golds) for golds in sets["topical_chat"].references[:4]] == [0, 1, 1, 1]
    assert sets["summeval"].annotators["quality"].shape == (3, 80)
    (scores,) = sets["summeval"].judges.values()  # a judge that answers by letter is not read as a number
    assert np.isnan(scores[:4]).all() and np.isfinite(scores[4:]).all()


def test_the_report_finds_the_scorer_that_follows_the_truth(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "human.json"
    command = ["metaeval", "human", "--data", str(data), "--out", str(out), "--storage", str(tmp_path / "runs")]
    assert run_app([*command, *ARGUMENTS]) == 0
    report = json.loads(out.read_text())
    assert report["cit_tasks"] == ["summeval", "topical_chat", "bagel"]
    rouge, exact, length = (report["scorers"][name] for name in ("rouge1", "exact_match", "length"))
    assert rouge["cit"]["low"] > 0.7
    assert rouge["cit"]["value"] == pytest.approx(
        np.mean([rouge["tasks"][task]["value"] for task in report["cit_tasks"]])
    )
    assert abs(rouge["tasks"]["qags_cnn"]["value"]) > 0.5
    assert rouge["sum"]["spearman"]["value"] == pytest.approx(rouge["tasks"]["summeval"]["value"])
    assert exact["cit"]["value"] < rouge["cit"]["value"]
    assert length["tasks"]["summeval"] == {  # every text has ten words
        "value": None, "low": None, "high": None, "n": 80, "num_clusters": 20, "reason": "constant scorer column",
    }  # fmt: skip
    assert length["cit"]["value"] is None
    assert rouge["unscored"] == {"topical_chat": {IS_REFERENCE: 15}}
    chat = next(task for task in report["tasks"] if task["name"] == "topical_chat")
    assert (chat["texts"], chat["scored_by_all"], chat["left_out"]) == (60, 45, 15)
    judges = {row["scorer"]: row for row in report["judges"] if row["is_judge"]}
    assert (judges["a-judge rts"]["asked"], judges["a-judge rts"]["unscored"]) == (80, 4)
    (one, mean) = report["ceiling"]
    assert (one["attribute"], mean["attribute"]) == ("quality", "mean of all")
    assert one["one person against the others"]["value"] > one["between pairs"]["value"] > 0.8
    assert ElementTree.fromstring((tmp_path / "human.svg").read_text()).tag.endswith("svg")
    said = capsys.readouterr()
    assert "the source: there are no references" in said.out
    assert "rouge1" in said.err or "scores" in said.err

    assert run_app([*command, *ARGUMENTS]) == 0  # from the store: the same figures, nothing scored
    assert json.loads(out.read_text()) == report


def test_comparisons_are_paired_and_adjusted(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "human.json"
    command = ["metaeval", "human", "--data", str(data), "--out", str(out), "--storage", str(tmp_path / "runs")]
    assert run_app([*command, *ARGUMENTS[2:], "--scorers", "rouge1,rouge2,token_f1"]) == 0
    report = json.loads(out.read_text())
    rows = {(row["first"], row["second"]): row for row in report["comparisons"]}
    assert len(rows) == 6  # and length
    row = rows["rouge1", "rouge2"]
    cits = [report["scorers"][name]["cit"]["value"] for name in ("rouge1", "rouge2")]
    assert row["difference"]["value"] == pytest.approx(cits[0] - cits[1])
    assert row["difference"]["low"] < row["difference"]["value"] < row["difference"]["high"]
    assert row["difference"]["method"].startswith("jackknife t")  # 20 documents: percentile intervals do not cover
    assert row["perm_both"] <= row["perm_both_holm"] <= 1
    assert set(row["tasks"]) == {"summeval", "topical_chat", "bagel"}
    assert rows["length", "rouge1"]["perm_both"] is None


def test_the_thinking_in_a_recorded_reply_is_no_score(tmp_path: Path) -> None:
    make_summeval(tmp_path / "summeval", np.random.default_rng(0))
    path = tmp_path / "summeval" / "replies" / "a-judge.rts.quality.jsonl.gz"
    (plain,) = read_sets(tmp_path)
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    thought = [{**row, "completion": "<think>Score: 1</think>" + row["completion"]} for row in rows]
    write(path, [*thought[:-1], {**rows[-1], "completion": "<think>Score: 1"}])
    (found,) = read_sets(tmp_path)
    scores = plain.judges["a-judge rts", "quality"]
    assert np.isfinite(scores[-1])
    np.testing.assert_array_equal(found.judges["a-judge rts", "quality"][:-1], scores[:-1])
    assert np.isnan(found.judges["a-judge rts", "quality"][-1])


def test_data_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"saw none of summeval/summaries\.jsonl\.gz"):
        read_sets(tmp_path)
    out = ["--out", str(tmp_path / "o.json")]
    assert run_app(["metaeval", "human", "--data", str(tmp_path / "nowhere"), *out]) == 2
    assert run_app(["metaeval", "human", "--data", str(tmp_path), *out, "--scorers", "judge"]) == 2
    assert "--scorers: saw 'judge'" in capsys.readouterr().err
    assert not (tmp_path / "o.json").exists()


def test_published_summeval_figures_come_back(shared_data: Path) -> None:
    """Our parser's reading of recorded replies gives the correlations that the source reports."""
    from assay.metaeval.statistics.correlation import spearman

    (part,) = [part for part in read_sets(shared_data) if part.name == "summeval"]
    expected = json.loads((shared_data / "summeval" / "expected_shared.json").read_text())["scoring"]
    row = next(
        r for r in expected if (r["judge"], r["prompt"], r["dimension"]) == ("gpt-3.5-turbo-0301", "rts", "coherence")
    )
    scores = part.judges["gpt-3.5-turbo-0301 rts", "coherence"]
    assert spearman(scores, part.attributes["coherence"]) == pytest.approx(row["spearman"], abs=5e-5)
