"""All benchmarks one after the other, on an otherwise idle machine: `make bench`. `--quick` shows that they run."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES = {
    # name: (arguments, quick arguments)
    "bench_demo.py": ([], None),
    "bench_generation.py": ([], ["--quick"]),
    "bench_full_queue.py": ([], ["--quick"]),
    "bench_sweep.py": ([], ["--quick"]),
    "bench_gateway.py": ([], ["--quick"]),
    "bench_utilisation.py": (["--peers"], ["--quick"]),
    "bench_judge_server.py": ([], ["500"]),
    "bench_joint.py": ([], ["--quick"]),
    "bench_bootstrap.py": ([], []),
    "bench_score_memory.py": ([], ["--quick"]),
    "bench_scorers.py": ([], ["--rows", "500"]),
    "bench_scale.py": (["all"], ["all", "--quick"]),
}


def main() -> None:
    """Run them; the exit code is the number that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    failed = 0
    for name, (arguments, quick_arguments) in BENCHES.items():
        chosen = quick_arguments if quick else arguments
        if chosen is None:
            continue
        print(f"== {name} {' '.join(chosen)}", flush=True)
        failed += subprocess.run([sys.executable, str(HERE / name), *chosen], check=False).returncode != 0
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
