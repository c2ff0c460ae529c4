"""The quickstart's tasks in rounds against their whole grid, both trained, generated and judged.

    python tests/bench/bench_decided.py --storage DIR [--only decided|whole] [--out FILE.json]

Each has a storage of its own below DIR, so each pays for all that it wants but the base, which is made once. Findings
of the whole grid are those of one round that sees all draws and items. The same command continues what was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ASSAY = Path(sys.executable).parent / "assay"
FILE = ROOT / "jobs/studies/quickstart_decided.yaml"
WHOLE = ("--set", "decide=null", "--set", "name=quickstart_whole")
AT_ONCE = ("--set", "decide.spend={rounds: [4]}", "--set", "name=quickstart_at_once")


def run(storage: Path, changes: Sequence[str] = ()) -> None:
    """`assay run` of the study with some fields changed."""
    ended = subprocess.run([str(ASSAY), "run", str(FILE), "--storage", str(storage), *changes], check=False)
    if ended.returncode:
        raise SystemExit(f"the study in {storage} ended with exit code {ended.returncode}")


def spent(storage: Path, name: str) -> dict[str, Any]:
    """Adapters, answers and judge calls that a storage has paid for, and seconds by stage."""
    stages = json.loads((storage / f"studies/{name}/side/costs.json").read_text())["stages"]
    with sqlite3.connect(f"file:{storage}/ledger.db?mode=ro", uri=True) as ledger:
        calls = ledger.execute("select count(*) from calls").fetchone()[0]
    return {
        "trainings": len(list((storage / "artifacts/adapter").glob("*/manifest.json"))),
        "judge_calls": calls,
        "seconds": {row["stage"]: round(row["seconds"], 1) for row in stages},
        "what": {row["stage"]: row["what"] for row in stages},
    }


def findings(storage: Path, name: str) -> dict[str, dict[str, Any]]:
    """By task: the best arm, those that are out, and every difference in a word, as last known."""
    record = json.loads((storage / f"studies/{name}/side/decisions.json").read_text())
    found = {}
    for family in record["families"]:
        words: dict[str, str] = {}
        out: dict[str, str] = {}
        for one in family["rounds"]:
            out |= one["dropped"]
            words |= {f"{pair['first']} | {pair['second']}": pair["word"] for pair in one["findings"]}
        last = family["rounds"][-1]
        found[family["task"]] = {
            "best": last["leader"],
            "mean": last["leader_mean"],
            "is_answered": last["is_answered"],
            "draws": last["look"],
            "out": sorted(out),
            "words": words,
        }
    return found


def contradictions(decided: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    """Differences that both know and name differently."""
    return [
        f"{pair}: {word} in rounds, {whole['words'][pair]} in the whole grid"
        for pair, word in decided["words"].items()
        if "undecided" not in (word, whole["words"][pair]) and word != whole["words"][pair]
    ]


def main() -> None:
    """Run both and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", type=Path, required=True)
    parser.add_argument("--only", choices=("decided", "whole"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    decided, whole = arguments.storage / "decided", arguments.storage / "whole"
    if arguments.only != "whole":
        run(decided)
    if arguments.only != "decided":
        base = decided / "artifacts/base"
        if base.exists() and not (whole / "artifacts/base").exists():
            shutil.copytree(base, whole / "artifacts/base", copy_function=os.link)
        run(whole, WHOLE)
    if arguments.only is not None:
        return
    figures: dict[str, Any] = {
        "decided": spent(decided, "quickstart_decided"),
        "whole": spent(whole, "quickstart_whole"),
    }
    run(whole, AT_ONCE)
    in_rounds, at_once = findings(decided, "quickstart_decided"), findings(whole, "quickstart_at_once")
    figures["tasks"] = {
        task: {"decided": found, "whole": at_once[task], "contradictions": contradictions(found, at_once[task])}
        for task, found in in_rounds.items()
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
