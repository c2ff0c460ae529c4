"""A study of somebody's own: two tasks of its own, a plug-in beside the study file, and two Ray nodes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from assay.records import ScoreRow, from_table
from assay.scoring.judges.protocols.criteria import CANNOT
from assay.store import Store
from support.local_cluster import LocalCluster
from support.tiny_study import PATIENCE_S, TINY, assay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * PATIENCE_S)]

PLUGIN = '''
import time

import ray

from assay.records import Rating


def shortness(request):
    """One where nothing was said; the node that scored is the detail. Slow enough that one node is not enough."""
    time.sleep(0.2)
    if len(request.prediction) > 60:
        raise OverflowError("long")
    return Rating(1 / (1 + len(request.prediction)), ray.get_runtime_context().get_node_id())


def register(registry):
    registry.add_scorer("shortness", shortness)
'''
TASKS: dict[str, Any] = {
    "enough": {
        "instruction": "Does the context answer the question?",
        "answer": {"format": "label", "labels": ["answerable", "unanswerable"]},
        "max_new_tokens": 6,
    },
    "names": {
        "instruction": "List persons, places and organizations as JSON.",
        "answer": {"format": "json"},
        "correct_if": "json_equal(ignore_order)",
        "criteria": "Every name of the text is there, and nothing else.",
        "max_new_tokens": 8,
    },
}


def write_study(folder: Path, rows: Path, address: str) -> Path:
    """A study file with its rows and its plug-in beside it."""
    for name, source in (("enough", "qnli"), ("names", "conll")):
        with gzip.open(rows / "tasks" / source / "train.jsonl.gz", "rt", encoding="utf-8") as file:
            short = [json.loads(line) for line, _ in zip(file, range(120), strict=False)]
        kept = [{"input": row["input"][:160], "output": row["output"]} for row in short]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    (folder / "my_parts.py").write_text(PLUGIN)
    own = {name: {"loader": "jsonl", "path": f"{name}.jsonl", "task": name, "split_rule": "strict"} for name in TASKS}
    study = {
        "extends": "quickstart",
        "name": "own",
        "plugins": ["my_parts"],
        "tasks": TASKS,
        "data": {"root": str(folder), "sources": own},
        "scorers": ["exact_match", "heuristic", "shortness", "judge"],
        "statistics": {"human": "heuristic"},
        "resources": {"ray_address": address, "scoring": {"chunk_rows": 4}},
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def test_own_tasks_and_a_plugin_reach_two_nodes(tmp_path: Path, shared_data: Path) -> None:
    storage = tmp_path / "runs"
    with LocalCluster(nodes=2) as cluster:
        path = write_study(tmp_path, shared_data, cluster.address)
        left = {"name", "grid.tasks", "resources.num_cpus", *(name for name in TINY if name.startswith("data."))}
        changes = {**{name: value for name, value in TINY.items() if name not in left}, "grid.tasks": "[enough, names]"}
        changes |= {"data.sources.instructions.num_train": "60", "evaluation.target_rows": "8"}
        options = [part for name, value in changes.items() for part in ("--set", f"{name}={value}")]
        ended = assay("run", str(path), "--storage", str(storage), *options, RAY_AUTH_MODE="disabled")
    assert ended.code == 0, ended.err
    store = Store(str(storage))
    rows = [
        row
        for key in store.keys("scores")
        for row in from_table(store.read_table("scores", key, "scores.parquet"), ScoreRow)
    ]
    by_scorer = {name: [row for row in rows if row.scorer == name] for name in ("heuristic", "shortness", "judge")}
    assert all(by_scorer.values())
    assert {row.rating for row in by_scorer["heuristic"] if row.rating is not None} <= {0.0, 1.0}
    nodes = {row.detail for row in by_scorer["shortness"] if row.rating is not None}
    assert len(nodes) == 2  # the head has no CPU: whoever scored has read no file of the study's folder
    assert {row.unscored for row in by_scorer["shortness"]} <= {None, "no prediction", "plug-in raised OverflowError"}
    reasons = {row.unscored for row in by_scorer["judge"]}
    assert {None, CANNOT} <= reasons <= {None, CANNOT, "no prediction"}
    assert "Task enough, as the study defines it" in (storage / "studies" / "own" / "report.html").read_text()
    status = assay("status", "own", "--storage", str(storage))
    assert status.code == 0, status.err
