"""A study on a cluster that starts with no workers, and the nodes over time: run alone in a PID namespace.

`autoscaling_study.py OUT -- COMMAND...` starts a head without CPUs whose autoscaler (Ray's fake provider) may add up to
three nodes of one CPU, runs COMMAND with RAY_ADDRESS of the cluster in place of `{address}`, waits until the nodes are
gone again, and writes OUT: JSON with the command's exit code and `timeline`, [seconds, worker nodes] at each change.
Ray's provider finds its cluster by looking through all processes, hence the namespace, whose end is everybody's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

IDLE_MINUTES = 0.1
MOST = 3
CONFIG: dict[str, Any] = {
    "cluster_name": "fake",
    "max_workers": MOST,
    "upscaling_speed": 20,
    "idle_timeout_minutes": IDLE_MINUTES,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": MOST},
    },
    "auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": [], "initialization_commands": [],
    "setup_commands": [], "head_setup_commands": [], "worker_setup_commands": [], "head_start_ray_commands": [],
    "worker_start_ray_commands": [], "rsync_exclude": [], "rsync_filter": [],
}  # fmt: skip


def main() -> None:
    out, command = Path(sys.argv[1]), sys.argv[3:]
    with tempfile.TemporaryDirectory(prefix="scale-") as temp:
        address = start_head(Path(temp))
        import ray

        ray.init(address, log_to_driver=False, logging_level="ERROR")
        began, over = time.monotonic(), threading.Event()
        timeline: list[list[float]] = []
        watch = threading.Thread(target=sample, args=(began, over, timeline), daemon=True)
        watch.start()
        ended = subprocess.run([part.format(address=address) for part in command], check=False)
        study_s = time.monotonic() - began
        until = time.monotonic() + 90
        while timeline[-1][1] and time.monotonic() < until:
            time.sleep(0.5)
        over.set()
        watch.join()
        out.write_text(json.dumps({"code": ended.returncode, "study_s": round(study_s, 1), "timeline": timeline}))


def start_head(temp: Path) -> str:
    """Address of a head whose monitor scales by CONFIG."""
    address = f"127.0.0.1:{int(os.environ['SCALE_PORT'])}"
    config = temp / "cluster.json"
    provider = {**CONFIG["provider"], "gcs_address": address}  # else its nodes look for a head at port 6379
    config.write_text(json.dumps({**CONFIG, "provider": provider}))
    variables = {**os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    subprocess.run(
        [
            *("ray", "start", "--head", "--num-cpus", "0", "--port", address.split(":")[1]),
            *("--temp-dir", str(temp / "ray")),
            *("--autoscaling-config", str(config), "--include-dashboard", "false", "--disable-usage-stats"),
            *("--node-ip-address", "127.0.0.1", "--object-store-memory", "150000000"),
            *("--ray-client-server-port", str(int(os.environ["SCALE_CLIENT_PORT"]))),
        ],
        env=variables, check=True, stdout=sys.stderr,
    )  # fmt: skip
    return address


def sample(began: float, over: threading.Event, timeline: list[list[float]]) -> None:
    """Note each change of the number of worker nodes."""
    import ray

    while not over.is_set():
        workers = sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0)
        if not timeline or timeline[-1][1] != workers:
            timeline.append([round(time.monotonic() - began, 1), workers])
        time.sleep(0.25)


if __name__ == "__main__":
    main()
