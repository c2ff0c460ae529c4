"""A small study of preferences with random kills, from sampled pairs to the last table, against one left alone.

Nothing that was finished is done again, nothing that was answered is asked again, nothing is paid twice beyond what
was in flight at a kill, and the tables are the same bytes. The list of kills and the counts are printed (`pytest -s`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assay.preference.rows import KIND as PAIRS
from assay.store import Store
from assay.training.spec import ADAPTER_KIND
from support.faults import KillableJudge, RunningStudy, Victim, attempts
from support.preference_study import SMALL, write_study
from support.tiny_study import PATIENCE_S, artifact_files, assay, ledger_calls, link_artifacts, table_bytes

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE_S)]
RUNS, KILLS, CONCURRENCY, STARTS = 2, 5, 2, 10
NAME = "killed"
VICTIMS: tuple[Victim, ...] = (
    "driver", "driver", "trial worker", "engine actor", "judge worker", "ledger", "judge server",
)  # fmt: skip
GRID: dict[str, Any] = {
    "pairs": {
        "rated": {"kind": "sampled", "num": 3, "temperature": 1.0, "label": "judge"},
        "compared": {"kind": "sampled", "num": 3, "temperature": 1.0, "label": "pairwise"},
    },
    "methods": ["sft_chosen", "dpo"],
}
MADE_BEFORE = ("dataset", "base", "lengths", "mixture")
"""Kinds that are not made again: kills are for what follows them. Of bases the merged one is the study's own work."""


@dataclass(frozen=True)
class Kill:
    """One planned kill."""

    victim: Victim
    share: float
    """Of the artifacts that the study makes: so many are whole by then, at least."""


def planned(seed: int) -> list[Kill]:
    """The kills of a run, in the order of the study; at most two of the driver, the others each of another process."""
    draw = random.Random(seed)
    victims = draw.sample(VICTIMS, KILLS)
    shares = sorted(draw.uniform(0.05, 0.9) for _ in victims)
    return [Kill(victim, round(share, 2)) for victim, share in zip(victims, shares, strict=True)]


def made(storage: Path) -> int:
    """Whole artifacts that the study made."""
    found = (storage / "artifacts").glob("*/*/manifest.json")
    return sum(path.parent.parent.name not in MADE_BEFORE for path in found)


def test_the_plans_meet_every_kind_of_process() -> None:
    plans = [planned(seed) for seed in range(RUNS)]
    assert all(len(plan) == KILLS for plan in plans)
    assert {kill.victim for plan in plans for kill in plan} == set(VICTIMS)


@pytest.fixture
def judge() -> Iterator[KillableJudge]:
    server = KillableJudge(latency_ms=100)
    yield server
    server.close()


def study_of(folder: Path, judge: KillableJudge) -> Path:
    asked = {
        "base_url": judge.base_url, "endpoint": "chaos-judge", "model": "rubric", "max_concurrency": CONCURRENCY,
        "requests_per_min": 30000,
    }  # fmt: skip
    scoring = {"chunk_rows": 4}
    return write_study(folder, GRID, name=NAME, judge=asked, resources={**SMALL["resources"], "scoring": scoring})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage of the study, left alone."""
    home = tmp_path_factory.mktemp("undisturbed")
    server = KillableJudge(latency_ms=0)
    try:
        ended = assay("run", str(study_of(home, server)), "--storage", str(home / "runs"))
    finally:
        server.close()
    assert ended.code == 0, ended.err
    return home / "runs"


@pytest.mark.parametrize("seed", range(RUNS))
def test_random_kills_lose_nothing_and_pay_nothing_twice(
    seed: int, undisturbed: Path, tmp_path: Path, judge: KillableJudge
) -> None:
    began, storage = time.monotonic(), tmp_path / "runs"
    link_artifacts(undisturbed, storage, MADE_BEFORE)
    study, total = study_of(tmp_path, judge), made(undisturbed)
    kills, starts, done = planned(seed), 0, []
    while True:
        starts += 1
        assert starts < STARTS, "the study does not get on"
        files, paid = artifact_files(storage), ledger_calls(storage)
        with RunningStudy(storage, (), study=str(study)) as running:
            while kills and not running.is_over():
                so_far, victim = made(storage) / total, kills[0].victim
                if so_far < kills[0].share:
                    time.sleep(0.02)
                    continue
                next_share = kills[1].share if len(kills) > 1 else 0.95
                is_there = victim == "judge server" or bool(running.processes(victim))
                if not is_there and so_far < next_share:  # its work may be yet to come
                    time.sleep(0.02)
                    continue
                victim = victim if is_there else "driver"
                if victim == "judge server":
                    judge.kill()
                elif not running.kill(victim):
                    continue
                done.append(f"{victim} at {so_far:.0%}")
                kills.pop(0)
            code = running.wait()
            said = running.said
        after = artifact_files(storage)
        assert {name: after.get(name) for name in files} == files, "something finished was done again"
        assert paid.items() <= ledger_calls(storage).items(), "something paid for is gone"
        if code == 0:
            break
        # killed; or, without its judge, stopped with a word on how to go on
        assert code == -9 or (code == 2 and "judge" in said), said
    assert len(done) == KILLS, f"the study was over before {kills}"
    sent, calls = attempts(storage), ledger_calls(storage)
    outcomes = sum(sent.values(), Counter[str]())
    assert set(calls) == set(ledger_calls(undisturbed))
    assert all(ends["answered"] == 1 for ends in sent.values()), "answered and asked again"
    assert outcomes["unseen"] <= KILLS * CONCURRENCY
    for kind in (ADAPTER_KIND, PAIRS, "predictions", "scores", "reference", "divergence"):
        assert Store(str(storage)).keys(kind) == Store(str(undisturbed)).keys(kind), kind
    assert table_bytes(storage, NAME) == table_bytes(undisturbed, NAME)
    print(
        f"\nrun {seed}: killed {', '.join(done)}; {starts} starts, {len(calls)} calls answered once each, "
        f"{sum(outcomes.values())} sent ({dict(outcomes)}), same tables, {time.monotonic() - began:.0f} s"
    )
