"""The cluster files are what their tools take, and hold no secret and no path of one machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def test_cluster_yaml_passes_rays_own_check() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    workers = config["available_node_types"]["gpu_spot"]
    assert config["provider"]["type"] == "aws"
    assert config["available_node_types"]["head"]["resources"]["GPU"] == 0
    assert workers["min_workers"] == 0
    assert workers["max_workers"] > 0
    assert workers["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"


def test_every_ray_start_of_the_cluster_authenticates() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    starts = [
        line
        for name in ("head_start_ray_commands", "worker_start_ray_commands")
        for line in config[name]
        if "ray start" in line
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)


def test_rayjob_autoscales_from_zero_and_tells_the_entrypoint() -> None:
    job = yaml.safe_load((ROOT / "jobs/rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec["entrypoint"].startswith("python jobs/run_study.py")
    cluster = spec["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    gpu = next(group for group in cluster["workerGroupSpecs"] if group["groupName"] == "gpu")
    assert (gpu["minReplicas"], gpu["maxReplicas"] > 0) == (0, True)
    containers = gpu["template"]["spec"]["containers"]
    assert containers[0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("name", ["cluster.yaml", "jobs/rayjob.yaml"])
def test_versions_agree_with_the_project(name: str) -> None:
    text = (ROOT / name).read_text()
    if "rayVersion" in text:
        assert 'rayVersion: "2.60.0"' in text
        assert "ray[default,data,train,tune]==2.60.0" in (ROOT / "pyproject.toml").read_text()
