"""Ten short studies with five random kills each, over training, generation and scoring, against one left alone.

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

import pytest

from support.faults import KillableJudge, RunningStudy, Victim, age_s, attempts, stored
from support.tiny_study import (
    PATIENCE_S,
    artifact_files,
    ledger_calls,
    link_artifacts,
    run_tiny,
    settings,
    table_bytes,
)

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE_S)]
RUNS, KILLS = 10, 5
CONCURRENCY = 2
SMALL = {
    "name": "tiny",
    "grid.tasks": "[toy_sentiment]",
    "grid.draws": "2",
    "training_seeds_at_zero": "[0]",
    "resources.scoring.chunk_rows": "4",
    "judge.endpoint": "chaos-judge",
    "judge.max_concurrency": str(CONCURRENCY),
}
"""Three trainings, six predictions artifacts, 72 answers."""
ADAPTERS, PREDICTIONS = 3, 6
STAGES: dict[str, tuple[Victim, ...]] = {
    "train": ("driver", "trial worker"),
    "generate": ("driver", "engine actor"),
    "score": ("driver", "judge worker", "limiter", "ledger", "judge server"),
}


@dataclass(frozen=True)
class Kill:
    """One planned kill."""

    stage: str
    victim: Victim
    after_s: float
    """Of the life of the stage's worker process; in scoring, of the study's own."""
    replies: int = 0
    """In scoring: judge replies that the ledger holds by then, at least."""

    def is_due(self, study: RunningStudy, storage: Path) -> bool:
        """Whether the study has come so far."""
        if self.stage == "score":
            held = len(ledger_calls(storage))
            return held >= self.replies and bool(study.processes("judge worker"))
        worker: Victim = "trial worker" if self.stage == "train" else "engine actor"
        return any(age_s(process) >= self.after_s for process in study.processes(worker))

    def is_too_late(self, storage: Path) -> bool:
        """Whether its stage is over."""
        if self.stage == "score":
            return stored(storage, "scores") > 0 and (storage / "studies" / "tiny" / "tables").exists()
        kind, count = ("adapter", ADAPTERS) if self.stage == "train" else ("predictions", PREDICTIONS)
        return stored(storage, kind) >= count


def planned(seed: int) -> list[Kill]:
    """The kills of a run: in each stage at least one, two or three while it scores, at most two of the driver."""
    draw = random.Random(seed)
    stages = ["train", "generate", "score", "score", draw.choice(["train", "score"])]
    kills, drivers = [], 0
    for stage in sorted(stages, key=list(STAGES).index):
        victim = draw.choice([name for name in STAGES[stage] if name != "driver" or drivers < 2])
        drivers += victim == "driver"
        kills.append(Kill(stage, victim, after_s=round(draw.uniform(0.0, 9.0), 1), replies=draw.randint(2, 60)))
    return sorted(
        kills, key=lambda kill: (list(STAGES).index(kill.stage), kill.replies if kill.stage == "score" else 0)
    )


def test_the_plans_meet_every_kind_of_process_and_every_stage() -> None:
    plans = [planned(seed) for seed in range(RUNS)]
    assert all(len(plan) == KILLS and {kill.stage for kill in plan} == set(STAGES) for plan in plans)
    met = {(kill.stage, kill.victim) for plan in plans for kill in plan}
    assert met == {(stage, victim) for stage, victims in STAGES.items() for victim in victims}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, left alone."""
    storage = tmp_path_factory.mktemp("undisturbed")
    judge = KillableJudge(latency_ms=200)
    try:
        ended = run_tiny(storage, changes={**SMALL, "judge.base_url": judge.base_url})
    finally:
        judge.close()
    assert ended.code == 0, ended.err
    assert (stored(storage, "adapter"), stored(storage, "predictions")) == (ADAPTERS, PREDICTIONS)
    return storage


@pytest.fixture
def judge() -> Iterator[KillableJudge]:
    server = KillableJudge(latency_ms=200)
    yield server
    server.close()


@pytest.mark.study
@pytest.mark.parametrize("seed", range(RUNS))
def test_five_random_kills_lose_nothing_and_pay_nothing_twice(
    seed: int, undisturbed: Path, tmp_path: Path, judge: KillableJudge
) -> None:
    began = time.monotonic()
    link_artifacts(undisturbed, tmp_path, ["dataset", "base", "mixture"])
    options = settings({**SMALL, "judge.base_url": judge.base_url})
    kills, starts, done = planned(seed), 0, []
    while True:
        starts += 1
        assert starts < 12, "the study does not get on"
        files, paid = artifact_files(tmp_path), ledger_calls(tmp_path)
        with RunningStudy(tmp_path, options) as study:
            while kills and not study.is_over():
                kill = kills[0]
                if kill.is_due(study, tmp_path):
                    victim = kill.victim
                elif kill.is_too_late(tmp_path):  # by a moment: the driver goes instead, wherever it is
                    victim = "driver"
                else:
                    time.sleep(0.02)
                    continue
                if victim == "judge server":
                    judge.kill()
                elif not study.kill(victim):
                    continue
                done.append(f"{victim} ({kill.stage})")
                kills.pop(0)
                assert not (tmp_path / "studies" / "tiny" / "done.json").exists()
            code = study.wait()
            said = study.said
        after = artifact_files(tmp_path)
        assert {name: after.get(name) for name in files} == files, "something finished was done again"
        assert paid.items() <= ledger_calls(tmp_path).items(), "something paid for is gone"
        if code == 0:
            break
        # killed; or, without its judge, stopped with a word on how to go on
        assert code == -9 or (code == 2 and "judge" in said), said
    assert len(done) == KILLS, f"the study was over before {kills}"
    sent = attempts(tmp_path)
    calls = ledger_calls(tmp_path)
    outcomes = sum(sent.values(), Counter[str]())
    assert set(calls) == set(ledger_calls(undisturbed))
    assert all(ends["answered"] == 1 for ends in sent.values()), "answered and asked again"
    assert outcomes["unseen"] <= KILLS * CONCURRENCY
    assert table_bytes(tmp_path) == table_bytes(undisturbed)
    print(
        f"\nrun {seed}: killed {', '.join(done)}; {starts} starts, {len(calls)} calls answered once each, "
        f"{sum(outcomes.values())} sent ({dict(outcomes)}), same tables, {time.monotonic() - began:.0f} s"
    )
