"""A study on a cluster that starts with no workers, grows to three nodes and shrinks again (Ray's fake provider)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.ray_head import free_ports
from support.tiny_study import BIN, PATIENCE_S, environment, finished_study, link_artifacts, settings, table_bytes

pytestmark = [pytest.mark.chaos, pytest.mark.study, pytest.mark.timeout(3 * PATIENCE_S)]
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "autoscaling_study.py"
OWN_PROCESSES = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def test_a_study_scales_a_cluster_from_nothing_to_three_nodes_and_back(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if subprocess.run([*OWN_PROCESSES, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("needs a PID namespace of its own (root)")
    undisturbed = finished_study(tmp_path_factory.getbasetemp())
    link_artifacts(undisturbed, tmp_path / "storage", ["dataset", "base", "mixture"])
    port, client = free_ports(2)
    out = tmp_path / "scaled.json"
    study = [str(BIN / "assay"), "run", "quickstart", "--storage", str(tmp_path / "storage")]
    study += settings({"resources.ray_address": "{address}"})
    script = [sys.executable, str(SCRIPT), str(out), "--", *study]
    ended = subprocess.run(
        [*OWN_PROCESSES, "bash", "-c", '"$@"; exit $?', "scaling", *script],  # bash: somebody must reap orphans
        env=environment(
            RAY_AUTH_MODE="disabled", RAY_FAKE_CLUSTER="1", SCALE_PORT=str(port), SCALE_CLIENT_PORT=str(client)
        ),
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
    )  # fmt: skip
    assert out.is_file(), ended.stderr[-3000:]
    result = json.loads(out.read_text())
    assert result["code"] == 0, ended.stderr[-3000:]
    nodes = [count for _, count in result["timeline"]]
    line = ", ".join(f"{seconds:.0f} s: {count}" for seconds, count in result["timeline"])
    print(f"\nworker nodes over time: {line}; the study took {result['study_s']} s")
    assert nodes[0] == 0
    assert max(nodes) == 3
    assert nodes[-1] == 0
    assert table_bytes(tmp_path / "storage") == table_bytes(undisturbed)
