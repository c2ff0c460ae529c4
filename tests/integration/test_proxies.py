"""Mixtures scored by added adapters: on the engines, from a finished study to what `assay predict` reads."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from support.tiny_study import TINY, artifact_files, assay, settings

pytestmark = pytest.mark.study

MIXTURE = {
    **{name: value for name, value in TINY.items() if not name.startswith(("grid.", "evaluation.", "training_seeds"))},
    "grid.components": "{toy_sentiment: {}, toy_arithmetic: {}}",
    "grid.total": "15",
    "grid.space": "{num: 3, include: [vertices]}",
    "grid.draws": "1",
    "grid.validation_rows": "8",
    "evaluation.sets": "{toy_sentiment: {rows: 12}, toy_arithmetic: {rows: 12}}",
}
STUDY = "jobs/studies/mixture_sixty.yaml"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_components_alone_are_their_own_proxies_and_predict_reads_the_files(tmp_path: Path) -> None:
    storage, out = ["--storage", str(tmp_path / "store")], tmp_path / "proxy"
    asked = settings(base=MIXTURE)
    early = assay("proxy", STUDY, "--out", str(out), *storage, *asked)
    assert early.code == 2 and not out.exists(), early.err

    ran = assay("run", STUDY, *storage, *asked)
    assert ran.code == 0, ran.err
    ended = assay("proxy", STUDY, "--out", str(out), "--further", "4", *storage, *asked)
    assert ended.code == 0, ended.err
    assert "rank correlation with trained mixtures" in ended.out
    shares, scores, proxies = (rows(out / f"{name}.csv") for name in ("mixtures", "scores", "proxies"))
    assert len(proxies) == 10 and len(shares) == len(scores) == 7  # uniform, natural, two corners, three of the space
    by_key = {row["key"]: row for row in scores}
    for part in ("toy_sentiment", "toy_arithmetic"):
        trained = next(by_key[row["key"]] for row in shares if float(row[part]) == 1)
        proxy = next(row for row in proxies if float(row[part]) == 1)
        assert {name: proxy[name] for name in trained if name != "key"} == {
            name: trained[name] for name in trained if name != "key"
        }

    files = artifact_files(tmp_path / "store")
    again = assay("proxy", STUDY, "--out", str(out), "--further", "4", *storage, *asked)
    assert again.code == 0 and artifact_files(tmp_path / "store") == files
    told = assay(
        "predict", "--mixtures", str(out / "mixtures.csv"), "--scores", str(out / "scores.csv"), "--proxies",
        str(out / "proxies.csv"), "--column", "objective", "--out", str(tmp_path / "predicted.json"),
    )  # fmt: skip
    assert told.code == 0, told.err
    assert "rank correlation of the proxy alone" in told.out
