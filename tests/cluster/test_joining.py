"""Limits and ledger are shared where there is a cluster to share them with, and a laptop never loads Ray for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from assay.judge_server import start_judge_server

ASK = """
import json, sys
from assay.cli import run_app
code = run_app(sys.argv[1:])
ray = sys.modules.get("ray")
names = []
if ray is not None and ray.is_initialized():
    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
print(json.dumps([code, ray is not None, sorted(name.rsplit("-", 1)[0] for name in names)]))
"""
CLUSTER = "import ray; ray.init(address='local', num_cpus=2, include_dashboard=False, log_to_driver=False)\n"


def asked(folder: Path, program: str) -> list[object]:
    data = folder / "Mine.json"
    data.write_text(json.dumps([{"input": "Say 1.", "output_1": "It is 1.", "output_2": "No.", "label": 1}]))
    flags = ["metaeval", "llmbar", "--data", str(data), "--judge", "rubric", "--storage", str(folder / "store")]
    flags += ["--tracking", "none", "--out", str(folder / "r.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with start_judge_server() as server:
        arguments = [sys.executable, "-c", program, *flags, "--base-url", server.base_url]
        run = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    found: list[object] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_a_laptop_shares_nothing_and_loads_no_ray(tmp_path: Path) -> None:
    assert asked(tmp_path, ASK) == [0, False, []]


def test_a_process_that_is_connected_to_ray_shares_limits_and_ledger(tmp_path: Path) -> None:
    code, has_ray, names = asked(tmp_path, CLUSTER + ASK)
    assert (code, has_ray) == (0, True)
    assert isinstance(names, list) and any(name.startswith("assay-ledger") for name in names), names
    assert any(name.startswith("assay-limiter") for name in names), names
