"""Metrics reach Prometheus through Ray, and the dashboard draws those that there are."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from support.tiny_study import environment

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "jobs" / "grafana.json"
CODE = """
import sys
import ray
from assay.llm.endpoint import EndpointSpec
from assay.llm.limits.shared import Caps, Report
from assay.llm.limits.ray_limits import LimiterActor
from assay.cluster.ray_metrics import count, show
port = int(sys.argv[1])
ray.init(address="local", num_cpus=1, include_dashboard=False, _metrics_export_port=port, log_to_driver=False)
limiter = LimiterActor.remote(Caps(600.0, None, 8), "judge-1")
ray.get(limiter.exchange.remote(Report("w", passed=7), Caps(600.0, None, 8)))
count("assay_trials_ended", 3, status="trained")
show("assay_trials_running", 2)
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_dashboard_draws_metrics_that_exist() -> None:
    from assay.cluster.ray_metrics import COUNTERS, GAUGES

    exported = {f"ray_{name}_total" for name in COUNTERS} | {f"ray_{name}" for name in GAUGES}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    text = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    drawn = set(re.findall(r"ray_assay_\w+", text))
    assert drawn == exported, "every metric is drawn, and nothing else"
    labels = {name: set(tags) for name, (_, tags) in {**COUNTERS, **GAUGES}.items()}
    for by, inner in re.findall(r"by \(([\w, ]+)\) \((?:rate\()?ray_(assay_\w+)", text):
        assert set(by.split(", ")) <= labels[inner.removesuffix("_total")]


@pytest.mark.slow
def test_prometheus_reads_them_from_ray() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", CODE, str(port)]
    env = environment(PYTHONPATH=str(ROOT / "platform"), RAY_AUTH_MODE="disabled")
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while (line := process.stdout.readline()) != "ready\n":
                assert line, "Ray did not start"
            wanted = (
                'ray_assay_judge_answers_total{.*endpoint="judge-1".*} 7',
                'ray_assay_judge_limit_per_min{.*endpoint="judge-1".*} 600',
                'ray_assay_trials_ended_total{.*status="trained".*} 3',
                "ray_assay_trials_running{.*} 2",
            )
            text, until = "", time.monotonic() + 120
            while time.monotonic() < until and not all(re.search(pattern, text) for pattern in wanted):
                try:
                    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
                except (urllib.error.URLError, OSError):
                    time.sleep(1)
                time.sleep(1)
            for pattern in wanted:
                assert re.search(pattern, text), (pattern, [row for row in text.splitlines() if "assay" in row])
        finally:
            process.kill()
