"""The ledger's laws on SQLite: stored before used, never paid twice, bounded budgets, unseen attempts counted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from assay.errors import ConfigError, StorageError
from assay.llm.ledger.report import export_parquet, summarise
from assay.llm.ledger.service import (
    Begin,
    Finish,
    LedgerService,
    Lookup,
    Release,
    Stop,
    Store,
    StoredCall,
    Unseen,
    Wait,
)
from assay.llm.ledger.tables import default_ledger_url, open_database


def call(key: str, status: str = "answered", usd: float | None = 0.5, **changes: object) -> dict[str, object]:
    row = {
        "key": key, "endpoint": "e", "model": "m", "protocol": "p", "step": "s", "replicate": 0, "status": status,
        "finish_reason": "stop", "reply": "text", "extra": "", "detail": "", "prompt_tokens": 10,
        "completion_tokens": 2, "usd": usd, "transport": "chat", "study": "s1", "judge": "j",
        "request_json": "{}", "created_at": 86400.0 * 20000, "latency_s": 0.1, "num_attempts": 1,
    }  # fmt: skip
    return {**row, **changes}


def begin(attempt_id: str, key: str, max_usd: float | None = None, est_usd: float = 0.1) -> Begin:
    return Begin(attempt_id, key, 1, "chat", "s1", 12, est_usd, max_usd)


def answered(attempt_id: str, key: str, usd: float = 0.5, status: str = "answered") -> Finish:
    return Finish(attempt_id, status, 200, 10, 2, usd, call(key, status, usd))


@pytest.fixture
def service(tmp_path: Path) -> LedgerService:
    return LedgerService(f"sqlite:///{tmp_path}/ledger.db")


def test_a_reply_is_in_the_file_before_anybody_hears_of_it(service: LedgerService, tmp_path: Path) -> None:
    service.process("a", [Lookup("k")])
    service.process("a", [begin("a-1", "k")])
    other = sqlite3.connect(tmp_path / "ledger.db")
    assert other.execute("select outcome from attempts").fetchall() == [(None,)]
    service.process("a", [answered("a-1", "k")])
    assert other.execute("select reply from calls").fetchall() == [("text",)]
    other.close()
    stored = service.process("a", [Lookup("k")])[0]
    assert isinstance(stored, StoredCall)
    assert (stored.reply, stored.usd) == ("text", 0.5)


def test_dollars_of_a_batch_that_also_begins_attempts_are_never_lost(
    service: LedgerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("assay.llm.ledger.service.time.time", lambda: now)
    first = [begin(f"a-{i}", f"k{i}", max_usd=1.0, est_usd=0.01) for i in range(19)]
    assert service.process("a", first) == [None] * 19
    now += 6.0  # the sum is read anew in the very batch that ends them all: $0.95
    ended = [Finish(f"a-{i}", "answered", 200, 10, 10, 0.05, None) for i in range(19)]
    assert service.process("a", [*ended, begin("a-19", "k19", max_usd=1.0, est_usd=0.01)])[-1] is None
    now += 1.0
    service.process("a", [Finish("a-19", "answered", 200, 10, 10, 0.05, None)])
    assert service.process("a", [begin("a-20", "k20", max_usd=1.0, est_usd=0.01)]) == [Stop(pytest.approx(1.0))]


@pytest.mark.parametrize("begin_first", [True, False])
def test_dollars_of_a_batch_are_counted_once_wherever_the_sum_is_read(
    service: LedgerService, monkeypatch: pytest.MonkeyPatch, begin_first: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr("assay.llm.ledger.service.time.time", lambda: now)
    service.process("a", [begin("a-1", "k1", max_usd=1.0)])
    now += 6.0
    batch = [Finish("a-1", "answered", 200, 10, 10, 0.6, None), begin("a-2", "k2", max_usd=1.0)]
    service.process("a", batch[::-1] if begin_first else batch)
    now += 1.0
    assert service.process("a", [begin("a-3", "k3", max_usd=1.0)]) == [None], "$0.60 of $1, not $1.20"


def test_a_key_is_lent_to_one_session_at_a_time(service: LedgerService) -> None:
    assert service.process("a", [Lookup("k")]) == [None]
    assert isinstance(service.process("b", [Lookup("k")])[0], Wait)
    service.process("a", [Release("k")])
    assert service.process("b", [Lookup("k")]) == [None]


def test_a_dead_session_gives_its_keys_back(service: LedgerService, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("assay.llm.ledger.service.time.time", lambda: now)
    service.process("a", [Lookup("k")])
    now = 1019.0
    assert isinstance(service.process("b", [Lookup("k")])[0], Wait)
    now = 1021.0
    assert service.process("b", [Lookup("k")]) == [None]


@pytest.mark.parametrize("status", ["answered", "refused", "filtered"])
def test_final_replies_are_never_overwritten(service: LedgerService, status: str) -> None:
    service.process("a", [Store(call("k", status))])
    service.process("a", [Store(call("k", "answered", reply="another"))])
    stored = service.process("a", [Lookup("k")])[0]
    assert isinstance(stored, StoredCall)
    assert (stored.status, stored.reply) == (status, "text")


def test_a_failed_call_is_no_answer_and_gives_way_to_one(service: LedgerService) -> None:
    service.process("a", [Store(call("k", "failed", finish_reason="timeout"))])
    assert service.process("a", [Lookup("k")]) == [None]
    service.process("a", [Store(call("k", "answered"))])
    assert isinstance(service.process("a", [Lookup("k")])[0], StoredCall)


def test_a_batch_that_is_sent_twice_counts_once(service: LedgerService) -> None:
    for _ in range(2):
        service.process("a", [begin("a-1", "k")])
    for _ in range(2):
        service.process("a", [answered("a-1", "k")])
    with service.engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*), sum(usd) from attempts").one() == (1, 0.5)


def test_a_budget_lets_out_what_it_can_cover_and_then_stops(service: LedgerService) -> None:
    # $1 allowed, .4 estimated and .5 paid per call: two may fly at .0 and .4 reserved, the third sees .8 < 1 as well,
    # the fourth sees 1.2 and waits
    results = service.process("a", [begin(f"a-{i}", f"k{i}", 1.0, 0.4) for i in range(4)])
    assert results[:3] == [None, None, None]
    assert isinstance(results[3], Wait)
    service.process("a", [answered("a-0", "k0"), answered("a-1", "k1"), answered("a-2", "k2")])
    stopped = service.process("a", [begin("a-9", "k9", 1.0, 0.4)])[0]
    assert stopped == Stop(1.5)


def test_the_budget_counts_earlier_runs_and_useless_replies(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    first = LedgerService(url)
    first.process("a", [begin("a-1", "k")])
    first.process("a", [Finish("a-1", "empty", 200, 10, 2, 3.0, None)])
    first.close()
    assert LedgerService(url).process("b", [begin("b-1", "k", 2.0)]) == [Stop(3.0)]


def test_attempts_of_the_dead_are_unseen_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    dead = LedgerService(url)
    dead.process("a", [begin("a-1", "k1"), begin("a-2", "k2")])
    dead.process("a", [answered("a-1", "k1")])
    dead.close()
    living = LedgerService(url)
    living.process("b", [begin("b-1", "k3")])
    assert living.unseen() == Unseen(attempts=1, est_tokens=12)


def test_a_summary_adds_up(service: LedgerService, tmp_path: Path) -> None:
    service.process("a", [begin("a-1", "k1"), begin("a-2", "k2"), begin("a-3", "k3")])
    service.process("a", [answered("a-1", "k1", 0.25), answered("a-2", "k2", 0.5, "refused")])
    service.process("a", [Store(call("k4", usd=None, study="s2", created_at=86400.0 * 20001))])
    url = f"sqlite:///{tmp_path}/ledger.db"
    found = summarise(url, ("study", "day"))
    # day 20000 after 1970-01-01 is 2024-10-04
    assert [row.group for row in found.rows] == ["s1 / 2024-10-04", "s2 / 2024-10-05"]
    assert (found.total.calls, found.total.answered, found.total.refused, found.total.usd) == (3, 2, 1, 0.75)
    assert found.total.unpriced == 1
    assert found.outcomes == {"answered": 1, "refused": 1, "in flight or unseen": 1}
    assert found.unseen == Unseen(1, 12)
    assert summarise(url, ("study",), study="s2").total.calls == 1
    with pytest.raises(ConfigError, match="expected one of study"):
        summarise(url, ("colour",))  # type: ignore[arg-type]


def test_the_whole_ledger_exports_as_parquet(service: LedgerService, tmp_path: Path) -> None:
    service.process("a", [Store(call(f"k{i}")) for i in range(50)])
    assert export_parquet(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out")["calls.parquet"] == 50
    table = pq.read_table(tmp_path / "out" / "calls.parquet")
    assert table.num_rows == 50
    assert table.column("key").to_pylist() == sorted(f"k{i}" for i in range(50))


def test_a_ledger_that_cannot_be_opened_says_so_without_the_password() -> None:
    with pytest.raises(StorageError, match="cannot be opened") as error:
        open_database("postgresql://user:geheim@127.0.0.1:9/none?connect_timeout=1")
    assert "geheim" not in str(error.value)
    with pytest.raises(StorageError, match="expected sqlite"):
        open_database("mysql+pymysql://h/d")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:geheim@127.0.0.1:port/x",
        "postgresql://u:geheim@127.0.0.1:99999999/x",
        "postgresql://u:geheim@[::1/x",
        "u:geheim",
    ],
)
def test_a_ledger_url_that_is_none_is_told_in_one_line_without_the_password(url: str) -> None:
    with pytest.raises(StorageError, match="cannot be opened") as error:
        open_database(url)
    assert "geheim" not in str(error.value)
    assert "\n" not in str(error.value)


def test_the_ledger_lies_in_the_storage(tmp_path: Path) -> None:
    assert default_ledger_url(str(tmp_path)) == f"sqlite:///{tmp_path}/ledger.db"
    assert default_ledger_url("s3://bucket/runs/") == "segments:s3://bucket/runs/ledger"


def test_segments_in_an_object_store_rebuild_the_ledger(tmp_path: Path) -> None:
    url = f"segments:{tmp_path}/ledger"
    first = LedgerService(url)
    first.process("a", [Lookup("k1"), Lookup("k2")])
    first.process("a", [begin("a-1", "k1"), begin("a-2", "k2"), begin("a-3", "k3")])
    first.process("a", [answered("a-1", "k1"), Store(call("k4", "failed"))])
    # killed here: no close, no merge; a second process sees it all
    second = LedgerService(url)
    stored, missing, failed = second.process("b", [Lookup("k1"), Lookup("k2"), Lookup("k4")])
    assert isinstance(stored, StoredCall)
    assert (missing, failed) == (None, None)
    assert second.unseen() == Unseen(2, 24)
    second.process("b", [Store(call("k4", reply="now"))])
    second.process("b", [begin("b-1", "k2")])
    second.process("b", [answered("b-1", "k2")])
    before = sorted(path.name for path in (tmp_path / "ledger").iterdir())
    second.close()
    assert len(list((tmp_path / "ledger").iterdir())) == len(before) - 2, "its own three segments became one"
    found = summarise(url, ("status",))
    assert [(row.group, row.calls) for row in found.rows] == [("answered", 3)]
    assert found.unseen == Unseen(2, 24)
    assert not list((tmp_path / "ledger").glob(".*"))


def test_a_segment_that_cannot_be_written_keeps_the_reply_from_being_used(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder should be")
    service = LedgerService(f"segments:{tmp_path}/ledger/deeper")
    with pytest.raises(StorageError, match="cannot write a segment"):
        service.process("a", [Store(call("k"))])
    with service.engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from calls").scalar_one() == 0


def test_a_failed_call_that_was_answered_later_is_answered_after_a_replay_of_one_merged_segment(tmp_path: Path) -> None:
    """Many changes of one row in one segment: the last one counts, but nothing follows a final reply."""
    from assay.llm.ledger.segments import SegmentWriter

    row = {
        "endpoint": "e", "model": "m", "protocol": "p", "step": "s", "replicate": 0, "status": "failed",
        "finish_reason": "timeout", "reply": "", "extra": "", "detail": "", "prompt_tokens": 0, "completion_tokens": 0,
        "usd": None, "transport": "chat", "study": "s", "judge": "j", "request_json": "{}", "created_at": 1.0,
        "latency_s": 0.1, "num_attempts": 1,
    }  # fmt: skip
    begun = {"session": "w", "study": "s", "number": 1, "transport": "chat", "sent_at": 1.0, "est_tokens": 3}
    ended = {"outcome": "answered", "http_status": 200, "prompt_tokens": 3, "completion_tokens": 1, "usd": 0.5}
    writer = SegmentWriter(str(tmp_path))
    writer.write([("attempt", {"id": "a1", **ended, "ended_at": 2.0}), ("attempt", {"id": "a1", "key": "k", **begun})])
    writer.write([("call", {"key": "k", **row})])
    writer.write([("call", {"key": "k", **row, "status": "answered", "reply": "7"})])
    writer.write([("call", {"key": "k", **row, "status": "answered", "reply": "8"})])
    writer.merge()
    engine = open_database(f"segments:{tmp_path}")
    with engine.connect() as connection:
        assert connection.execute(sa.text("select status, reply from calls")).all() == [("answered", "7")]
        assert connection.execute(sa.text("select outcome, sent_at from attempts")).all() == [("answered", 1.0)]
