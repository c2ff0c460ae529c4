"""The quickstart as other processors would run it: does its story hold, and how far do its figures move?

    python tests/bench/bench_processors.py [--storage DIR] [--only NAME ...] [--study quickstart] [--out FILE.json]

Each way runs the whole study from nothing, one after the other. A cell is the mean of a scorer at one N of a task; it
holds where it lies inside the first way's 95 % interval. Findings are the words of the leaderboard (better, worse,
equivalent, undecided) by scorer and arm.

    as it is     what torch and oneDNN choose on this machine
    default      ATEN_CPU_CAPABILITY=default: torch's kernels without AVX
    avx2         ATEN_CPU_CAPABILITY=avx2
    onednn avx2  ONEDNN_MAX_CPU_ISA=AVX2
    one thread   one torch thread in training and generation
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ASSAY = Path(sys.executable).parent / "assay"
ONE_THREAD = ("resources.training.threads=1", "resources.generation.threads=1")
WAYS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "as it is": ({}, ()),
    "default": ({"ATEN_CPU_CAPABILITY": "default"}, ()),
    "avx2": ({"ATEN_CPU_CAPABILITY": "avx2"}, ()),
    "onednn avx2": ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, ()),
    "one thread": ({"OMP_NUM_THREADS": "1"}, ONE_THREAD),
}
Cell = tuple[str, str, int]
Finding = tuple[str, str, str]


def run(way: str, study: str, storage: Path) -> tuple[dict[Cell, dict[str, float]], dict[Finding, str]]:
    """Curves and verdicts of a study that this way ran from nothing."""
    environment, settings = WAYS[way]
    command = [str(ASSAY), "run", study, "--storage", str(storage)]
    for setting in settings:
        command += ["--set", setting]
    began = time.monotonic()
    subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
    print(f"{way}: {time.monotonic() - began:.0f} s", flush=True)
    tables = next((storage / "studies").glob("*/tables"))
    curves = pq.read_table(tables / "curves.parquet").to_pylist()
    cells = {(row["task"], row["scorer"], row["num_target"]): row for row in curves}
    board = pq.read_table(tables / "leaderboard.parquet").to_pylist()
    findings = {
        (row["evaluation_set"], row["scorer"], row["arm"]): row["verdict"]
        for row in board
        if not row["is_baseline"] and row["verdict"]
    }
    return cells, findings


def compared(first: dict[Cell, dict[str, float]], other: dict[Cell, dict[str, float]]) -> dict[str, Any]:
    """How many cells of `other` lie inside the intervals of `first`, and which do not."""
    known = [cell for cell, row in first.items() if row["mean"] is not None and row["low"] is not None]
    moved = {cell: other[cell]["mean"] - first[cell]["mean"] for cell in known}
    outside = [cell for cell in known if not first[cell]["low"] <= other[cell]["mean"] <= first[cell]["high"]]
    shown = {
        " ".join(map(str, cell)): [other[cell]["mean"], first[cell]["mean"], first[cell]["low"], first[cell]["high"]]
        for cell in outside
    }
    return {
        "cells": len(known),
        "equal": sum(difference == 0 for difference in moved.values()),
        "inside": len(known) - len(outside),
        "largest_move": max(map(abs, moved.values())),
        "outside": shown,
    }


def main() -> None:
    """Run the ways, print what moved, exit 1 where a finding of better or worse turned round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = options.storage or Path(tempfile.mkdtemp(prefix="assay-processors-"))
    found = {way: run(way, options.study, folder / way.replace(" ", "-")) for way in options.only}
    (first, said), *_ = found.values()
    report: dict[str, Any] = {}
    turned = 0
    for way, (cells, findings) in list(found.items())[1:]:
        report[way] = compared(first, cells)
        differ = {" ".join(key): [said[key], findings.get(key)] for key in said if said[key] != findings.get(key)}
        turned += sum(set(pair) == {"better", "worse"} for pair in differ.values())
        report[way] |= {"findings": len(said), "other_word": differ}
        print(json.dumps({way: report[way]}, indent=2), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=2), encoding="utf-8")
    raise SystemExit(turned > 0)


if __name__ == "__main__":
    main()
