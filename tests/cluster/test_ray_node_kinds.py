"""Asking one node of every kind, as `assay doctor` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.cluster.ray_node_kinds import kind_of, node_kinds
from support.local_cluster import LocalCluster
from support.tiny_study import environment


def node(name: str, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "Resources": {"memory": 1e9, f"node:10.0.0.{name}": 1.0, **resources}}


def test_one_node_of_every_kind_is_looked_at() -> None:
    nodes = [
        node("4", CPU=16, GPU=1, **{"accelerator_type:A100": 1}),
        node("1", **{"node:__internal_head__": 1.0}),
        node("3", CPU=16, GPU=1, **{"accelerator_type:A100": 1}),
        node("2", CPU=16, GPU=1, **{"accelerator_type:L4": 1}),
    ]
    assert node_kinds(nodes) == {"0 CPU": "1", "16 CPU, 1 GPU (A100)": "3", "16 CPU, 1 GPU (L4)": "2"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [({"CPU": 4.0}, "4 CPU"), ({"CPU": 8.0, "GPU": 2.0}, "8 CPU, 2 GPU"), ({"GPU": 1.0}, "0 CPU, 1 GPU")],
)
def test_a_node_is_called_by_what_it_has(resources: dict[str, float], expected: str) -> None:
    assert kind_of(resources) == expected


LOOK = """
import json, sys
from dataclasses import asdict
import ray
ray.init(sys.argv[1], runtime_env={"env_vars": {"PYTHONPATH": ":".join(sys.path)}}, log_to_driver=False)
from assay.commands.doctor import findings_by_node_kind
print(json.dumps([asdict(one) for one in findings_by_node_kind()]))
"""


@pytest.mark.slow
def test_every_kind_of_node_is_looked_at_from_the_driver(tmp_path: Path) -> None:
    """A head without CPUs and a node of another kind."""
    cluster = LocalCluster(nodes=1, cpus=3.0)
    try:
        told = subprocess.run(
            [sys.executable, "-c", LOOK, cluster.address], cwd=tmp_path, capture_output=True, text=True, timeout=200,
            check=True, env=environment(PYTHONPATH=os.pathsep.join(sys.path), RAY_AUTH_MODE="disabled"),
        )  # fmt: skip
    finally:
        cluster.close()
    found = json.loads(told.stdout.splitlines()[-1])
    assert {one["node"] for one in found} == {"0 CPU", "3 CPU"}
    assert {one["what"] for one in found if one["node"] == "3 CPU"} >= {"driver", "gcc, Python.h", "torch"}
