"""Where studies end: 10,000 cells, 100,000 artifacts, 5,000,000 judgements, a report of 2,000 cells.

    .venv/bin/python tests/bench/bench_scale.py PART|all [--size N | --quick] [--out FILE.json]

plan: expand a study and find its artifacts, seconds and memory. plan_mixture: the same of a mixture study, without its
artifacts. store: a store of N artifacts, what a study of 1,000
asks of it against a listing (s3: of an object store on loopback). ledger: N stored calls, look-ups a second in batches
and file size. report: tables and page of a study of N cells. sweep: N trials that do nothing through Ray Tune, overhead
per trial and driver memory. Each part is a process of its own, so that its memory is its own.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "platform")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

MIB = 2**20


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    value = call()
    return time.monotonic() - started, value


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plan(size: int) -> dict[str, float]:
    """A study of about `size` cells: 4 tasks x 10 sizes x draws x 5 seeds on one base."""
    from assay.studies.artifacts import Base, study_artifacts
    from assay.studies.catalog import load_study
    from assay.studies.cells import expand
    from assay.studies.inputs import dataset_keys
    from assay.studies.planning.estimate import plan as price

    tasks = len(load_study("quickstart", []).grid.tasks)
    draws = max(1, round(size / (tasks * 10 * 5)))
    study = load_study(
        "quickstart",
        [
            "grid.sizes=[0, 5, 10, 20, 40, 80, 120, 160, 240, 320]",
            f"grid.draws={draws}",
            "training_seeds=[0, 1, 2, 3, 4]",
            "training_seeds_at_zero=[]",
        ],
    )
    plan_s, priced = timed(lambda: price(study))
    keys = dataset_keys(study, "bench")
    expand_s, cells = timed(lambda: expand(study))
    bases = {name: Base(name, "0" * 32, "") for name in study.base_models}
    wanted_s, found = timed(lambda: study_artifacts(study, cells, bases, keys))
    return {
        "cells": priced.cells, "trainings": len(found.trainings), "predictions": len(found.generations),
        "plan_s": plan_s, "expand_s": expand_s, "wanted_s": wanted_s, "peak_mib": peak_mib(),
    }  # fmt: skip


def plan_mixture(size: int) -> dict[str, float]:
    """A mixture study of about `size` cells, each another mixture: 4 components, points of a Sobol space, 4 draws."""
    from assay.studies.catalog import load_study
    from assay.studies.planning.estimate import plan as price

    path = TESTS.parent / "jobs" / "studies" / "plan_mixture_10k.yaml"
    load_s, study = timed(lambda: load_study(str(path), [f"grid.space.num={max(1, size // 4 - 4)}"]))
    plan_s, priced = timed(lambda: price(study))
    return {
        "cells": priced.cells, "trainings": priced.distinct_trainings, "load_s": load_s, "plan_s": plan_s,
        "peak_mib": peak_mib(),
    }  # fmt: skip


def store(size: int) -> dict[str, float]:
    """A store of `size` artifacts with 3 files each; a study that wants 1,000 of them, and 1,000 that are not there."""
    from assay.store import Store

    with tempfile.TemporaryDirectory() as folder:
        target = Store(folder)
        home = Path(folder) / "artifacts" / "predictions"
        for number in range(size):  # without the store's fsync, which is not what is measured
            place = home / f"{number:032x}"
            place.mkdir(parents=True)
            for name in ("predictions.parquet", "summary.json", "manifest.json"):
                (place / name).write_bytes(b"{}")
        wanted = [f"{number:032x}" for number in range(size - 1000, size + 1000)]
        present_s, there = timed(lambda: target.present("predictions", wanted))
        again_s, _ = timed(lambda: target.present("predictions", wanted))
        keys_s, listed = timed(lambda: target.keys("predictions"))
        inventory_s, _ = timed(target.inventory)
        assert (len(there), len(listed)) == (1000, size)
    return {
        "artifacts": size, "present_2000_s": present_s, "present_again_s": again_s, "keys_s": keys_s,
        "inventory_s": inventory_s,
    }  # fmt: skip


def s3(size: int) -> dict[str, float]:
    """The same on moto's server: requests are what counts there, its seconds are its own."""
    import boto3

    from assay.store import Store
    from support.object_store import BUCKET, object_store

    with object_store() as server:
        os.environ.update(server.environment)
        client = boto3.client("s3", endpoint_url=server.endpoint)
        for number in range(size):
            for name in ("predictions.parquet", "manifest.json"):
                client.put_object(Bucket=BUCKET, Key=f"a/artifacts/predictions/{number:032x}/{name}", Body=b"{}")
        target = Store(server.uri("a"))
        wanted = [f"{number:032x}" for number in range(100)]
        present_s, there = timed(lambda: target.present("predictions", wanted))
        keys_s, listed = timed(lambda: target.keys("predictions"))
        assert (len(there), len(listed)) == (100, size)
    return {"artifacts": size, "present_100_s": present_s, "keys_s": keys_s}


def ledger(size: int) -> dict[str, float]:
    """A ledger of `size` answered calls of ordinary length, asked for stored replies in the batches of a worker."""
    import sqlite3

    from assay.llm.ledger.service import LedgerService, Lookup
    from assay.llm.ledger.tables import CALLS

    rng = random.Random(0)
    words = [f"word{number}" for number in range(2000)]
    request = json.dumps({"messages": [{"role": "user", "content": " ".join(rng.choices(words, k=60))}]})
    names = [column.name for column in CALLS.columns]
    row = {
        "endpoint": "judge", "model": "m", "protocol": "ifteval", "step": "score", "replicate": 0,
        "status": "answered", "finish_reason": "stop", "reply": "[[7]]", "extra": "", "detail": "",
        "prompt_tokens": 170, "completion_tokens": 8, "usd": 0.0, "transport": "chat", "study": "s", "judge": "j",
        "request_json": request, "created_at": 1.0, "latency_s": 0.1, "num_attempts": 1,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        url = f"sqlite:///{path}"
        LedgerService(url).close()
        rest = [row[name] for name in names[1:]]
        statement = f"insert into calls ({', '.join(names)}) values ({', '.join('?' * len(names))})"

        def fill() -> None:
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("pragma synchronous=off")
            for start in range(0, size, 50_000):
                many = [(f"{rng.getrandbits(128):032x}", *rest) for _ in range(min(50_000, size - start))]
                connection.execute("begin")
                connection.executemany(statement, many)
                connection.execute("commit")
                kept.extend(values[0] for values in many[:200])
            connection.close()

        kept: list[str] = []
        fill_s, _ = timed(fill)
        service = LedgerService(url)
        keys = [key if number % 2 else f"{rng.getrandbits(128):032x}" for number, key in enumerate(kept)]
        rng.shuffle(keys)
        batches = [keys[start : start + 256] for start in range(0, len(keys), 256)]
        lookup_s, found = timed(
            lambda: sum(
                result is not None for batch in batches for result in service.process("w", [Lookup(k) for k in batch])
            )
        )
        assert found >= len(keys) // 2 - 1
        service.close()
        gib = path.stat().st_size / 2**30
    return {
        "calls": size, "fill_s": fill_s, "lookups_per_s": len(keys) / lookup_s, "file_gib": gib,
        "bytes_per_call": gib * 2**30 / size, "peak_mib": peak_mib(),
    }  # fmt: skip


def report(size: int) -> dict[str, float]:
    """Tables and page of `size` runs over 4 tasks with 20 rows and 3 scorers each."""
    from assay.metaeval.study_tables.build import RunRow, ScorerInfo, TableOptions, build_study_tables
    from assay.records import ScoreRow
    from assay.reports.page import ReportInput, render_report

    tasks, sizes = ("a", "b", "c", "d"), (10, 50, 100, 500)
    draws = max(1, size // (len(tasks) * len(sizes)))
    runs, scores = [], []
    rng = random.Random(0)
    places = [("", 0, -1, seed) for seed in range(5)]
    places += [(task, count, draw, 0) for task in tasks for count in sizes for draw in range(draws)]
    for task, count, draw, seed in places:
        for where in (task,) if task else tasks:
            key = f"{rng.getrandbits(128):032x}"
            described = RunRow(
                predictions_key=key, adapter_key=f"{task}{count}-{draw}-{seed}", mixture_key=f"{task}{count}{draw}",
                base_model="tiny", trained_task=task, evaluation_set=where, num_target=count, draw=draw,
                training_seed=seed, arm=f"{task} N={count}" if task else "instructions only",
            )  # fmt: skip
            runs.append(described)
            for item in range(20):
                right = rng.random() < 0.2 + count / 1000
                for name in ("truth", "exact_match", "judge"):
                    value = float(right) if name != "judge" else round(0.2 + 0.6 * right + 0.1 * rng.random(), 6)
                    scores.append(ScoreRow(key, f"{where}-{item}", name, value, None))
    infos = [
        ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human"),
        ScorerInfo("exact_match", 1, "higher", 0.0, 1.0, "reference"),
        ScorerInfo("judge", 1, "higher", 0.0, 1.0, "judge"),
    ]
    tables_s, tables = timed(
        lambda: build_study_tables(runs, scores, infos, TableOptions(human="truth", seed_key="k", resamples=1000))
    )
    content = ReportInput(
        title="scale", description="", mode="strict", key="k" * 32, facts=[], notes=[], human="truth",
        curve_scorers=["exact_match", "judge"], tables=dict(tables), costs=[], browser={"note": "", "sets": {}},
    )  # fmt: skip
    page_s, page = timed(lambda: render_report(content))
    return {
        "runs": len(runs), "score_rows": len(scores), "tables_s": tables_s, "page_s": page_s,
        "page_mib": len(page.html) / MIB, "peak_mib": peak_mib(),
    }  # fmt: skip


def sweep(size: int) -> dict[str, float]:
    """`size` trials that do nothing, through `run_sweep` on two slots."""
    import ray

    from assay.store import Store
    from assay.training.spec import TrainingJob, TrainResources, TrainSpec
    from assay.training.sweep import ray_sweep

    class NoTrial(ray_sweep.ResidentTrial):
        def setup(self, config: dict[str, Any], inputs: Any) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            return {"done": True, "finished": True, "loss": 0.0, "step": 1, "total_steps": 1}

        def cleanup(self) -> None:
            pass

    ray_sweep.ResidentTrial = NoTrial
    jobs = [
        TrainingJob(
            key=f"{number:032x}", base_key="0" * 32, base_path="", mixture_key="m", spec=TrainSpec(), base_name="b",
            dataset_keys=(), num_rows=1, labels={},
        )
        for number in range(size)
    ]  # fmt: skip
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    before = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        seconds, done = timed(
            lambda: ray_sweep.run_sweep(
                Store(folder),
                jobs,
                TrainResources(max_concurrent=2),
                readers=ray_sweep.Readers(lambda store, job: ((), ())),
            )
        )
    assert len(done.jobs) == size
    return {
        "trials": size, "seconds": seconds, "ms_per_trial": 1000 * seconds / size, "driver_mib_before": before,
        "driver_peak_mib": peak_mib(),
    }  # fmt: skip


PARTS = {
    "plan": (plan, 10_000),
    "plan_mixture": (plan_mixture, 10_000),
    "store": (store, 100_000),
    "s3": (s3, 2_000),
    "ledger": (ledger, 5_000_000),
    "report": (report, 2_000),
    "sweep": (sweep, 10_000),
}


def main() -> None:
    """Run one part and print its figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--size", type=int, help="default: what the part is about")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the default size")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.part == "all":
        command = [sys.executable, __file__, *(["--quick"] if arguments.quick else [])]
        raise SystemExit(sum(subprocess.run([*command, part], check=False).returncode != 0 for part in PARTS))
    run, size = PARTS[arguments.part]
    if arguments.quick:
        size = max(1_500, size // 100) if arguments.part == "store" else size // 100
    figures = {name: round(value, 3) for name, value in run(arguments.size or size).items()}
    line = json.dumps({"part": arguments.part, **figures})
    print(line)
    if arguments.out:
        arguments.out.write_text(line + "\n")


if __name__ == "__main__":
    main()
