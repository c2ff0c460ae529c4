"""Scoring on a real Ray and a real judge server: complete, deterministic, resumable, and stopped cleanly."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DataError, EndpointError, LimitReached
from assay.hooks import SilentProgress
from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.ledger.tables import default_ledger_url
from assay.llm.local_model import LocalModel
from assay.records import Example, Prediction, ScoreRow, from_table, to_table
from assay.scoring.jobs import (
    JudgeSetup,
    LocalScoring,
    ScoringBatch,
    ScoringReport,
    ScoringResources,
    judge_spec,
    make_batches,
    scores_key,
)
from assay.scoring.judges.protocols.pointwise import IftevalJudge
from assay.store import Store
from support.shipped import get_task, make_scorer, scorer_spec
from support.tiny_encoders import save_tiny_encoder

# Ray Data copies its context, and warns of the fields that it deprecates itself
pytestmark = pytest.mark.filterwarnings("ignore:::ray.data.context")

NUM_ROWS = 20
LOCAL = [scorer_spec("exact_match"), scorer_spec("token_f1"), scorer_spec("rougeL")]
RESOURCES = ScoringResources(chunk_rows=8)
EXAMPLES = {
    "first": [
        Example(f"x{i:02d}", "sst2", "test", "Is it positive or negative?", f"film {i}", "positive")
        for i in range(NUM_ROWS)
    ],
    "second": [
        Example(f"y{i:02d}", "sst2", "test", "Is it positive or negative?", f"play {i}", "negative")
        for i in range(NUM_ROWS)
    ],
}


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "platform")}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def server() -> Iterator[JudgeServer]:
    with start_judge_server() as running:
        yield running


def invoice(server: JudgeServer) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.root_url}/assay/invoice") as reply:
        found: dict[str, Any] = json.load(reply)
    return found


def stored_predictions(root: Path) -> tuple[Store, tuple[ScoringBatch, ...]]:
    """Three predictions artifacts, one of them with a row that has no answer."""
    store = Store(str(root))
    pairs = []
    for number, evaluation in enumerate(("first", "first", "second")):
        rows = [
            Prediction(e.example_id, "positive" if i % (number + 2) else f"It is negative, {i}.", "stop", 9, 3)
            for i, e in enumerate(EXAMPLES[evaluation])
        ]
        if number == 1:
            rows[3] = Prediction(rows[3].example_id, "", "error", 0, 0, "the engine died")
        key = f"{number:032x}"
        with store.writing("predictions", key) as writer:
            writer.table("predictions.parquet", to_table(rows, Prediction))
        pairs.append((key, evaluation))
    return store, make_batches(pairs, size=2)


def judge_of(server_url: str, name: str, store: Store, **changes: Any) -> JudgeSetup:
    budget = changes.pop("budget_usd", None)
    endpoint = EndpointSpec(base_url=server_url, name=name, model="rubric", step_headers=True, **changes)
    protocol = IftevalJudge()
    return JudgeSetup(
        judge_spec("judge", protocol, endpoint), protocol, endpoint, default_ledger_url(store.uri), budget, "test"
    )


def run(store: Store, batches: Any, judges: list[JudgeSetup], progress: Any = None, **options: Any) -> ScoringReport:
    from assay.scoring.ray_score import run_scoring

    scorers = options.pop("scorers", LOCAL)
    return run_scoring(store, batches, EXAMPLES, LocalScoring(tuple(scorers)), judges, RESOURCES, progress, **options)


class Watched(SilentProgress):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.total = self.done = self.rows = 0
        self.last: dict[str, object] = {}

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        self.total, self.done = total, done

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        self.rows += count
        self.last = info or self.last


def test_every_row_is_scored_or_says_why_and_a_rerun_asks_nobody(
    local_ray: None, server: JudgeServer, tmp_path: Path
) -> None:
    store, batches = stored_predictions(tmp_path / "one")
    judge, progress = judge_of(server.base_url, server.name, store), Watched()
    report = run(store, batches, [judge], progress)
    assert len(report.published) == 2 * 4  # two batches, three local scorers and the judge
    assert report.num_asked == dict.fromkeys(["exact_match", "token_f1", "rougeL", "judge"], 3 * NUM_ROWS)
    assert report.unscored == {name: {"no prediction": 1} for name in report.num_asked}
    assert (progress.total, progress.rows) == (4 * 3 * NUM_ROWS, 4 * 3 * NUM_ROWS)
    assert progress.last["calls"] == f"{3 * NUM_ROWS - 1}/{3 * NUM_ROWS}"
    assert report.calls["judge"].prompt_tokens > 0

    for spec in (*LOCAL, judge.spec):
        for batch in batches:
            table = store.read_table("scores", scores_key(spec, batch), "scores.parquet")
            rows = from_table(table, ScoreRow)
            assert [(r.predictions_key, r.example_id) for r in rows] == sorted(
                (key, e.example_id)
                for key, evaluation in zip(batch.predictions, batch.evaluations, strict=True)
                for e in EXAMPLES[evaluation]
            )
            assert {r.scorer for r in rows} == {spec.name}
            assert all((r.rating is None) != (r.unscored is None) for r in rows)
            assert all(0 <= r.rating <= 1 for r in rows if r.rating is not None)
    exact = from_table(store.read_table("scores", scores_key(LOCAL[0], batches[0]), "scores.parquet"), ScoreRow)
    assert [r.rating for r in exact[:4]] == [0.0, 1.0, 0.0, 1.0]  # by hand: "positive" at odd rows

    billed = invoice(server)
    again = run(store, batches, [judge], progress)
    assert again.published == ()
    assert set(again.found) == set(report.published)
    assert progress.done == progress.total
    assert invoice(server) == billed

    # another storage with the same ledger: equal bytes, and not one call paid again
    other, batches = stored_predictions(tmp_path / "two")
    run(other, batches, [JudgeSetup(judge.spec, judge.protocol, judge.endpoint, judge.ledger_url, None, "test")])
    for key in report.published:
        assert other.read_bytes("scores", key, "scores.parquet") == store.read_bytes("scores", key, "scores.parquet")
        assert other.read_bytes("scores", key, "summary.json") == store.read_bytes("scores", key, "summary.json")
    assert invoice(server) == billed


def test_models_score_in_actors_as_they_do_alone(local_ray: None, tmp_path: Path) -> None:
    """Two scorers of one encoder and a reward model: stored values are those of a scorer called here, rounded."""
    from assay.scoring.protocol import ScoreRequest
    from assay.scoring.scorers.models import resolve

    encoder, classifier = save_tiny_encoder(tmp_path / "encoder"), save_tiny_encoder(tmp_path / "reward", labels=1)
    specs = [
        scorer_spec("bertscore", model=str(encoder), layer=2),
        scorer_spec("reward", model=str(classifier)),
        scorer_spec("reward_soft", model=str(classifier)),
        scorer_spec("exact_match"),
    ]
    store, batches = stored_predictions(tmp_path / "store")
    report = run(store, batches, [], scorers=specs)
    assert report.unscored == {spec.name: {"no prediction": 1} for spec in specs}
    examples = {e.example_id: e for rows in EXAMPLES.values() for e in rows}
    for spec in specs:
        resolved = resolve(spec)
        scorer = make_scorer(resolved)
        for batch in batches:
            rows = from_table(store.read_table("scores", scores_key(resolved, batch), "scores.parquet"), ScoreRow)
            for key in batch.predictions:
                answers = from_table(store.read_table("predictions", key, "predictions.parquet"), Prediction)
                answered = [row for row in answers if row.error is None]
                requests = [
                    ScoreRequest(examples[row.example_id], get_task("sst2"), row.prediction) for row in answered
                ]
                expected = [round(outcome.value, 6) for outcome in scorer.score(requests)]  # type: ignore[union-attr]
                stored = [row.rating for row in rows if row.predictions_key == key and row.rating is not None]
                assert stored == pytest.approx(expected, abs=2e-6)
    assert run(store, batches, [], scorers=specs).published == ()
    manifest = store.read_json("scores", scores_key(resolve(specs[0]), batches[0]), "summary.json")
    assert str(tmp_path) not in json.dumps(manifest)  # a path of this machine is no part of a result


@pytest.mark.slow  # a study's own budget is in test_study
def test_a_spent_budget_stops_cleanly_and_a_higher_one_goes_on(local_ray: None, tmp_path: Path) -> None:
    """And replies that nobody can read are unscored rows with their reason, never zeros."""
    store, batches = stored_predictions(tmp_path)
    prices = {"usd_per_million_input": 1000.0, "usd_per_million_output": 1000.0, "max_concurrency": 4}
    with start_judge_server(faults={"format": 0.3, "refusal": 0.2}, seed=1) as server:
        poor = judge_of(server.base_url, server.name, store, budget_usd=3.0, **prices)
        with pytest.raises(LimitReached, match="--max-usd 3"):
            run(store, batches, [poor], scorers=[])
        paid = invoice(server)
        rich = judge_of(server.base_url, server.name, store, budget_usd=1e6, **prices)
        report = run(store, batches, [rich], scorers=[])
        assert paid != invoice(server)
    assert 0 < report.calls["judge"].cached < 3 * NUM_ROWS  # what the first run paid for
    reasons = report.unscored["judge"]
    assert {"unparsable", "refused", "no prediction"} <= set(reasons)
    assert sum(reasons.values()) < report.num_asked["judge"] == 3 * NUM_ROWS


def test_a_judge_that_is_down_is_one_clear_line(local_ray: None, tmp_path: Path) -> None:
    store, batches = stored_predictions(tmp_path)
    with pytest.raises(EndpointError, match="nothing answers"):
        run(store, batches, [judge_of("http://127.0.0.1:9/v1", "down", store)], scorers=[])
    assert not store.keys("scores")


def test_predictions_that_are_not_there_are_named(tmp_path: Path) -> None:
    store, _ = stored_predictions(tmp_path)
    with pytest.raises(DataError, match="no predictions ffff"):
        run(store, make_batches([("f" * 32, "first")]), [])


def test_failed_judgements_alone_are_asked_again(local_ray: None, tmp_path: Path) -> None:
    store, batches = stored_predictions(tmp_path)
    batches = batches[:1]
    with start_judge_server(faults={"5xx": 0.4}, seed=5) as server:
        report = run(store, batches, [judge_of(server.base_url, "judge", store, max_attempts=1)], scorers=[])
    failed = report.unscored["judge"]["error: server error"]
    assert 0 < failed < 2 * NUM_ROWS - 1
    with start_judge_server() as server:
        judge = judge_of(server.base_url, "judge", store)
        assert run(store, batches, [judge], scorers=[]).published == (), "stored is stored, unless asked otherwise"
        again = run(store, batches, [judge], scorers=[], retry_failed=True)
        assert again.unscored["judge"] == {"no prediction": 1}
        assert again.calls["judge"].attempts == invoice(server)["calls"] <= failed, "only what had no reply"
        assert run(store, batches, [judge], scorers=[], retry_failed=True).published == ()


@pytest.mark.slow
def test_a_local_model_judges_as_a_stream_of_engines(local_ray: None, tmp_path: Path) -> None:
    from support.tiny_causal_models import save_tiny_model

    store, batches = stored_predictions(tmp_path)
    model = save_tiny_model(tmp_path / "tiny", "llama", chat=True)
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 4096}))  # a prompt is long
    endpoint = EndpointSpec(transport="local", model=str(model), local=LocalModel(dtype="float32"), max_attempts=1)
    protocol = IftevalJudge(mode="compat")  # asks once: a random model's reply is no score anyway
    judge = JudgeSetup(judge_spec("judge", protocol, endpoint), protocol, endpoint, default_ledger_url(store.uri))
    report = run(store, batches, [judge], scorers=[])
    assert report.num_asked["judge"] == 3 * NUM_ROWS
    assert set(report.unscored["judge"]) <= {"no prediction", "unparsable", "error: empty"}
    calls = report.calls["judge"]
    assert calls.attempts > 0 and calls.completion_tokens > 0 and calls.usd == 0
    assert sum(report.unscored["judge"].values()) <= 3 * NUM_ROWS
    again = run(store, batches, [judge], scorers=[], retry_failed=True)
    assert again.calls.get("judge") is None or again.calls["judge"].attempts <= calls.attempts
