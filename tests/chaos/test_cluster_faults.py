"""Studies on a cluster of four nodes (Ray's own test cluster, all on this machine), whose nodes go and come.

The tables are the bytes of a study on one machine that was left alone, whatever the cluster does.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from assay.judge_server.launch import start_judge_server
from support.faults import RunningStudy, Victim, attempts, stored
from support.local_cluster import LocalCluster
from support.ray_head import started_head
from support.tiny_study import (
    PATIENCE_S,
    artifact_files,
    finished_study,
    ledger_calls,
    link_artifacts,
    run_tiny,
    settings,
    table,
    table_bytes,
)

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE_S)]
NO_AUTH = {"RAY_AUTH_MODE": "disabled"}
CONCURRENCY = 4


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(nodes=3) as running:  # with the head, four
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study on one machine, left alone, with a judge that the clusters' studies ask too."""
    finished = finished_study(tmp_path_factory.getbasetemp())
    storage = tmp_path_factory.mktemp("alone")
    link_artifacts(finished, storage, ["dataset", "base", "mixture", "adapter", "predictions"])
    with start_judge_server() as judge:
        ended = run_tiny(storage, changes=asking(judge.base_url))
    assert ended.code == 0, ended.err
    return storage


def asking(url: str) -> dict[str, str]:
    return {"judge.base_url": url, "judge.endpoint": "cluster-judge", "judge.max_concurrency": str(CONCURRENCY)}


def on(cluster: LocalCluster, url: str, **changes: str) -> list[str]:
    """Options of a study on the cluster, asking the judge at `url`."""
    return settings({**asking(url), "resources.ray_address": cluster.address, **changes})


def until(what: str, is_so: Callable[[], object], study: RunningStudy) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        assert not study.is_over(), f"over before {what}: {study.said}"
        assert time.monotonic() < ends, f"{what}: {study.said}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "notice", [pytest.param(False, id="SIGKILL", marks=pytest.mark.study), pytest.param(True, id="spot-notice")]
)
def test_nodes_lost_while_training_generating_and_scoring_change_nothing(
    cluster: LocalCluster, undisturbed: Path, tmp_path: Path, notice: bool
) -> None:
    link_artifacts(undisturbed, tmp_path, ["dataset", "base", "mixture"])
    began, line = time.monotonic(), []

    def lose(victim: Victim, study: RunningStudy, is_so: Callable[[], object]) -> None:
        until(f"{victim} is at work", lambda: is_so() and cluster.node_of(victim) is not None, study)
        node = cluster.node_of(victim)
        assert node is not None
        took = cluster.notice(node) if notice else cluster.kill(node)
        line.append(
            f"{time.monotonic() - began:.0f} s: node {node} with a {victim}"
            + (f", ended after {took} s" if notice else "")
        )
        cluster.add()

    with (
        start_judge_server(latency_ms=250) as judge,
        RunningStudy(tmp_path, on(cluster, judge.base_url), **NO_AUTH) as study,
    ):
        lose("trial worker", study, lambda: stored(tmp_path, "adapter") >= 1)
        lose("engine actor", study, lambda: stored(tmp_path, "adapter") == 6)
        lose("judge worker", study, lambda: len(ledger_calls(tmp_path)) >= 10)
        paid = ledger_calls(tmp_path)
        assert study.wait() == 0, study.said
    assert table_bytes(tmp_path) == table_bytes(undisturbed)
    assert paid.items() <= ledger_calls(tmp_path).items()
    sent = attempts(tmp_path)
    assert all(ends["answered"] == 1 for ends in sent.values())
    unseen = sum(ends["unseen"] for ends in sent.values())
    assert unseen <= CONCURRENCY
    how = "SIGTERM" if notice else "SIGKILL"
    print(f"\n{how}: {'; '.join(line)}; done after {time.monotonic() - began:.0f} s, {unseen} calls unseen")


@pytest.mark.study
def test_a_head_that_is_lost_takes_the_driver_along_and_the_next_cluster_goes_on(
    cluster: LocalCluster, undisturbed: Path, tmp_path: Path
) -> None:
    link_artifacts(undisturbed, tmp_path, ["dataset", "base", "mixture"])
    with start_judge_server(latency_ms=250) as judge:
        with RunningStudy(tmp_path, on(cluster, judge.base_url), **NO_AUTH) as study:
            until("two adapters are there", lambda: stored(tmp_path, "adapter") >= 2, study)
            cluster.kill_head()
            study.kill("driver")  # it runs on the head's machine
        files = artifact_files(tmp_path)
        assert not (tmp_path / "studies" / "tiny" / "done.json").exists()
        cluster.close()
        with LocalCluster(nodes=3) as another, RunningStudy(tmp_path, on(another, judge.base_url), **NO_AUTH) as study:
            assert study.wait() == 0, study.said
    after = artifact_files(tmp_path)
    assert {name: after.get(name) for name in files} == files
    assert table_bytes(tmp_path) == table_bytes(undisturbed)


def test_a_job_whose_driver_is_gone_is_submitted_again_and_pays_for_nothing_twice(
    undisturbed: Path, tmp_path: Path
) -> None:
    link_artifacts(undisturbed, tmp_path, ["dataset", "base", "mixture", "adapter", "predictions"])
    with started_head() as head, start_judge_server(latency_ms=250) as judge:
        options = settings(asking(judge.base_url))
        study = ("python", "jobs/run_study.py", "quickstart", "--storage", str(tmp_path), *options)
        submitted = head.submitting(*study)
        ends = time.monotonic() + PATIENCE_S
        while len(ledger_calls(tmp_path)) < 10:
            assert submitted.poll() is None, submitted.communicate()
            assert time.monotonic() < ends
            time.sleep(0.05)
        for process in psutil.Process(head.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "jobs/run_study.py" in process.cmdline():
                    process.kill()
        submitted.communicate(timeout=PATIENCE_S)
        assert submitted.returncode != 0, "the job was over before its driver was killed"
        paid = ledger_calls(tmp_path)
        again = head.submit(*study)
        assert again.code == 0, again.out + again.err
    assert paid.items() <= ledger_calls(tmp_path).items()
    sent = attempts(tmp_path)
    assert all(ends["answered"] == 1 for ends in sent.values())
    assert table_bytes(tmp_path) == table_bytes(undisturbed)
    print(f"\ndriver killed after {len(paid)} replies; {sum(ends['unseen'] for ends in sent.values())} unseen")


@pytest.mark.study
def test_two_studies_at_once_share_trainings_and_the_judges_limit(
    cluster: LocalCluster, undisturbed: Path, tmp_path: Path
) -> None:
    """Both want the same six adapters at the same moment, and ask the same judge."""
    per_min = 600
    link_artifacts(undisturbed, tmp_path, ["dataset", "base", "mixture"])
    with start_judge_server(rpm=per_min, latency_ms=20) as judge:
        limited = {"judge.requests_per_min": str(per_min)}
        first = on(cluster, judge.base_url, **limited)
        second = on(cluster, judge.base_url, **limited, **{"name": "tiny-again", "statistics.resamples": "300"})
        with (
            RunningStudy(tmp_path, first, **NO_AUTH) as one,
            RunningStudy(tmp_path, second, **NO_AUTH) as other,
        ):
            assert (one.wait(), other.wait()) == (0, 0), one.said + other.said
    trained = [int(words[0]) for words in map(str.split, notes(tmp_path, "train")) if words]
    print(f"\ntrainings of the two studies: {trained}; judge calls {len(ledger_calls(tmp_path))}")
    assert sum(trained) == 6, "an adapter was trained twice"
    sent = attempts(tmp_path)
    assert all(ends["answered"] == 1 for ends in sent.values()), "asked twice"
    assert not any(ends["rate limited"] for ends in sent.values()), "the judge refused a call: the limit was exceeded"
    busiest = max_per_window(tmp_path, 1.0)
    print(f"at most {busiest} calls were sent within a second, where {per_min} a minute are allowed")
    assert table_bytes(tmp_path) == table_bytes(undisturbed)
    assert len(table(tmp_path, "leaderboard", "tiny-again")) == len(table(tmp_path, "leaderboard"))


def notes(storage: Path, stage: str) -> list[str]:
    """What the studies' cost notes say of a stage."""
    import json

    found = []
    for path in sorted((storage / "studies").glob("*/side/costs.json")):
        found += [row["what"] for row in json.loads(path.read_text())["stages"] if row["stage"] == stage]
    return found


def max_per_window(storage: Path, window_s: float) -> int:
    """Most attempts that were sent within so many seconds."""
    connection = sqlite3.connect(f"file:{storage / 'ledger.db'}?mode=ro", uri=True)
    times = sorted(sent for (sent,) in connection.execute("select sent_at from attempts"))
    connection.close()
    best = low = 0
    for high, sent in enumerate(times):
        while sent - times[low] > window_s:
            low += 1
        best = max(best, high - low + 1)
    return best
