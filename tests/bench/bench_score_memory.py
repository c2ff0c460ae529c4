"""Peak memory of `assay score` over a million short predictions with the lexical scorers; the aim is under 2 GiB.

    python tests/bench/bench_score_memory.py [--rows 1000000] [--quick]

The rows are generated, about 12 words each. The exit code is 1 where the peak is above the aim. CPU seconds stand
beside wall seconds: on a busy machine only they compare.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCORERS = "exact_match,token_f1,rouge1,rouge2,rougeL,bleu"
AIM_GIB = 2.0
TEXT = "the cat sat on a mat while rain fell over old stone houses near green hills and one wide slow river"
WORDS = TEXT.split()


def write_predictions(path: Path, rows: int) -> None:
    """Predictions that keep most words of their references."""
    draw = random.Random(20_231_016)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            reference = draw.choices(WORDS, k=draw.randint(6, 18))
            prediction = [word if draw.random() < 0.8 else draw.choice(WORDS) for word in reference]
            row = {"id": number, "prediction": " ".join(prediction), "reference": " ".join(reference)}
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Generate, score in a process of its own, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 rows")
    arguments = parser.parse_args()
    rows = 20_000 if arguments.quick else arguments.rows
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "predictions.jsonl", Path(folder) / "scored.jsonl"
        write_predictions(source, rows)
        command = [sys.executable, "-c", "from assay.cli import main; main()", "score", "--predictions", str(source)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
        started = time.monotonic()
        subprocess.run([*command, "--scorers", SCORERS, "--out", str(out)], check=True, env=environment)
        wall_s = time.monotonic() - started
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        with out.open(encoding="utf-8") as file:
            written = sum(1 for _ in file)
    peak_gib = usage.ru_maxrss / 2**20
    cpu_s = usage.ru_utime + usage.ru_stime
    assert written == rows, f"{written} rows written, {rows} expected"
    print(
        f"{rows:,} rows, {len(SCORERS.split(','))} scorers: peak {peak_gib:.3f} GiB (aim {AIM_GIB:g}), {wall_s:.0f} s, "
        f"{cpu_s:.0f} s of CPU, {1e6 * cpu_s / rows:.0f} us of CPU a row"
    )
    raise SystemExit(peak_gib > AIM_GIB)


if __name__ == "__main__":
    main()
