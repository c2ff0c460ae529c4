"""Ray's multi-node test cluster in a process of its own, steered by lines on standard input: a head and some nodes.

Run as a script: `cluster_process.py NODES CPUS`. It answers every line with one line of JSON. Commands: `kill N`
(SIGKILL of node N's raylet, as a machine that loses power), `term N` (SIGTERM, as a spot notice), `add`, `kill head`.
When its input closes it ends all nodes.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

STORE_BYTES = 120_000_000


def main() -> None:
    from ray.cluster_utils import Cluster

    count, cpus = int(sys.argv[1]), float(sys.argv[2])
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 1000, "health_check_failure_threshold": 3},
        },
    )  # fmt: skip
    nodes = [add(cluster, cpus) for _ in range(count)]
    cluster.wait_for_nodes()
    say({"address": cluster.address, "head": raylet_pid(cluster.head_node), "nodes": [raylet_pid(n) for n in nodes]})
    try:
        for line in sys.stdin:
            words = line.split()
            if words == ["kill", "head"]:
                for kind in cluster.head_node.all_processes.values():
                    for info in kind:
                        info.process.kill()
                say({"killed": "head"})
            elif words[0] in ("kill", "term"):
                process = nodes[int(words[1])].all_processes["raylet"][0].process
                process.send_signal(signal.SIGKILL if words[0] == "kill" else signal.SIGTERM)
                began = time.monotonic()
                process.wait(60)
                say({"ended": raylet_pid(nodes[int(words[1])]), "after_s": round(time.monotonic() - began, 1)})
            elif words == ["add"]:
                nodes.append(add(cluster, cpus))
                say({"added": raylet_pid(nodes[-1]), "number": len(nodes) - 1})
    finally:
        cluster.shutdown()


def add(cluster: Any, cpus: float) -> Any:
    return cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES)


def raylet_pid(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
