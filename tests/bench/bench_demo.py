"""Wall time and peak memory of the quickstart study, by stage, and of the run after it.

    python tests/bench/bench_demo.py [--storage DIR] [--out FILE.json]

Memory is the sum of proportional set sizes over the study's process tree (shared pages counted once), sampled every
second; Ray, its workers, the engine and the judge server are all in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ASSAY = Path(sys.executable).parent / "assay"


def tree_gib(root: psutil.Process) -> float:
    """Proportional memory of a process and all below it, GiB."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 2**30


def run_demo(storage: str) -> tuple[float, float]:
    """Seconds and peak GiB of one `assay run quickstart`."""
    started = time.monotonic()
    process = subprocess.Popen([str(ASSAY), "run", "quickstart", "--storage", storage])
    watched = psutil.Process(process.pid)
    peak = 0.0
    while process.poll() is None:
        try:
            peak = max(peak, tree_gib(watched))
        except psutil.NoSuchProcess:
            break
        time.sleep(1.0)
    if process.wait():
        raise SystemExit(f"the study ended with exit code {process.returncode}")
    return time.monotonic() - started, peak


def main() -> None:
    """Run the study twice and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        storage = arguments.storage or folder
        seconds, peak = run_demo(storage)
        again, _ = run_demo(storage)
        stages = json.loads((Path(storage) / "studies/quickstart/side/costs.json").read_text())["stages"]
    figures = {
        "seconds": round(seconds, 1),
        "peak_gib": round(peak, 2),
        "seconds_again": round(again, 1),
        "stages": {row["stage"]: round(row["seconds"], 1) for row in stages},
        "what": {row["stage"]: row["what"] for row in stages},
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
