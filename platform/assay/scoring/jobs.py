"""What is scored, by whom, and what one predictions artifact's scores look like. Pure: no store, no Ray, no network.

A scores artifact holds the numbers of one scorer for a batch of up to 64 predictions artifacts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from assay.config import Config
from assay.errors import ConfigError, DataError
from assay.fingerprint import artifact_key, fingerprint
from assay.llm.endpoint import EndpointSpec
from assay.records import Example, Outcome, Prediction, Rating, ScoreRow, Unscored
from assay.scoring.judges.calls import JudgeProtocol
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.protocol import Scorer, ScoreRequest, ScorerSpec
from assay.scoring.scorers.models import resolve
from assay.scoring.table import SHIPPED_SCORERS, Scorers
from assay.tasks.catalog import SHIPPED_TASKS, Tasks

if TYPE_CHECKING:
    from assay.cluster.ray_aside import SetAside

KIND = "scores"
SCHEMA_VERSION = 1
"""Raised whenever the code writes something else for the same scorer and predictions."""
SCORES_FILE = "scores.parquet"
SUMMARY_FILE = "summary.json"
BATCH_SIZE = 64
"""Predictions artifacts per scores artifact: few files for many cells, little to redo after a kill."""
NO_PREDICTION = "no prediction"
CUT = "cut to "
"""Begins the detail of a rating of which an encoder saw only the beginning of a text."""
MODEL_ROWS = 256
"""Rows that a model scores at a time. Fixed, since what shares a batch with a row can move its last digits."""
RATING_DECIMALS = 6
"""Ratings are stored rounded, so that equal ones are equal bytes whatever library summed them."""

PointwiseProtocol = JudgeProtocol[PointwiseInstance, PointwiseJudgement]


UNKNOWN_ROOM = 4
"""Actors with GPUs where nodes may come and nobody says how many: each waiting one asks the autoscaler for a node."""


class ScoringResources(Config):
    """What scoring runs on: speed, never meaning."""

    judge_workers: int = Field(1, ge=1)
    """Actors that call the judge; each keeps many requests in flight. One is enough for some 300 calls a second."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """Of a judge actor, and of a task of the local scorers."""
    judge_resources: Mapping[str, float] = Field(default_factory=dict)
    """What a judge actor asks for beside its CPUs, such as `{judge: 1}`: it then runs only on nodes whose cluster file
    gives them that resource, off the machines with GPUs."""
    chunk_rows: int = Field(256, ge=1)
    """Rows of one predictions artifact that travel together, for local scorers and judges."""
    model_workers: int | None = Field(None, ge=1)
    """Actors that hold an encoder or a reward model, each of which loads it once; None: as many as fit the cluster
    where one has a GPU, else one."""
    cpus_per_model_worker: float = Field(1.0, gt=0)
    """CPUs of such an actor, and threads of its model."""
    gpus_per_model_worker: float = Field(0.0, ge=0)
    """GPUs of such an actor, or a share of one; 0 runs the model on the CPU."""

    def num_model_workers(self, room: int | None, chunks: int) -> int:
        """Actors to start for one model.

        Args:
            room: how many fit the cluster; None where nodes may come and nobody can say.
            chunks: of rows that there are to score.
        """
        asked = self.model_workers
        if asked is None:
            asked = 1 if not self.gpus_per_model_worker else UNKNOWN_ROOM if room is None else room
        return min(asked, chunks, asked if room is None else room)


@dataclass(frozen=True)
class ScoringBatch:
    """Up to 64 predictions artifacts that share a scores artifact."""

    predictions: tuple[str, ...]
    """Keys, sorted."""
    evaluations: tuple[str, ...]
    """For each of them the key of its rows in `examples_by_set`."""


@dataclass(frozen=True)
class WantedScores:
    """A scores artifact to make: one scorer's numbers for one batch."""

    spec: ScorerSpec
    batch: ScoringBatch
    key: str

    def num_rows(self, sizes: Mapping[str, int]) -> int:
        """Rows that it holds, by the sizes of the evaluation sets."""
        return sum(sizes[evaluation] for evaluation in self.batch.evaluations)


@dataclass(frozen=True)
class LocalScoring:
    """Scorers that need no network, with what makes them and the tasks whose rows they meet: it travels to workers."""

    specs: tuple[ScorerSpec, ...] = ()
    tasks: Tasks = SHIPPED_TASKS
    """Of the study."""
    table: Scorers = SHIPPED_SCORERS
    """That the specs name their scorers in."""

    def resolved(self) -> LocalScoring:
        """The same with models and labels found.

        Raises:
            ConfigError: an unknown scorer.
            InputError: a model that cannot be found.
        """
        for spec in self.specs:
            self.table.check(spec)
        return replace(self, specs=tuple(resolve(spec) for spec in self.specs))


@dataclass(frozen=True)
class JudgeSetup:
    """A judge scorer: what it is (`spec`), how it asks, and where."""

    spec: ScorerSpec
    protocol: PointwiseProtocol
    endpoint: EndpointSpec
    ledger_url: str
    """See `llm.ledger.tables.default_ledger_url`."""
    budget_usd: float | None = None
    """Dollars that the study may have spent in all, earlier runs included."""
    study: str = ""
    """Under which the ledger books the calls."""
    aside: SetAside | None = None
    """CPUs of its own; None: those that are free."""


@dataclass
class CallFigures:
    """What a judge's workers have done so far; for people, in no result table."""

    asked: int = 0
    done: int = 0
    cached: int = 0
    """Answered by the ledger: nothing was sent or paid."""
    attempts: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0
    """None where the model's price is not known."""
    calls_per_min: float = 0.0
    limit_per_min: float | None = None
    cached_tokens: int = 0
    """Of the prompt tokens, those that the endpoint had cached."""

    def add(self, other: CallFigures) -> None:
        """Take another worker's figures in."""
        for name in (
            "asked", "done", "cached", "attempts", "rate_limited",
            "prompt_tokens", "completion_tokens", "cached_tokens",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        self.calls_per_min += other.calls_per_min
        self.limit_per_min = other.limit_per_min or self.limit_per_min


@dataclass(frozen=True)
class ScoringReport:
    """What a run of scoring did."""

    published: tuple[str, ...]
    """Scores artifacts written by this run, sorted."""
    found: tuple[str, ...]
    """Those that were already in the store, sorted."""
    num_asked: dict[str, int]
    """Scorer -> rows of this run."""
    unscored: dict[str, dict[str, int]]
    """Scorer -> reason -> rows of this run; what is left of `num_asked` was scored."""
    calls: dict[str, CallFigures] = field(default_factory=dict)
    """Judge scorer -> its calls."""
    seconds: float = 0.0


def make_batches(pairs: Iterable[tuple[str, str]], size: int = BATCH_SIZE) -> tuple[ScoringBatch, ...]:
    """(predictions key, evaluation key) pairs in batches by sorted key; equal sets of pairs make equal batches."""
    ordered = sorted(set(pairs))
    return tuple(
        ScoringBatch(tuple(key for key, _ in part), tuple(rows for _, rows in part))
        for part in (ordered[start : start + size] for start in range(0, len(ordered), size))
    )


def chunks_of(todo: Sequence[WantedScores], sizes: Mapping[str, int], chunk_rows: int) -> list[dict[str, object]]:
    """Descriptors of the work: every chunk of rows once, with the numbers in `todo` of the scores that want it."""
    wanted_by: dict[ScoringBatch, list[int]] = {}
    for number, item in enumerate(todo):
        wanted_by.setdefault(item.batch, []).append(number)
    return [
        {"predictions": key, "evaluation": evaluation, "start": start, "wanted": numbers}
        for batch, numbers in wanted_by.items()
        for key, evaluation in zip(batch.predictions, batch.evaluations, strict=True)
        for start in range(0, sizes[evaluation], chunk_rows)
    ]


def scores_key(spec: ScorerSpec, batch: ScoringBatch) -> str:
    """Key of the scores that one scorer gives a batch."""
    return artifact_key(KIND, SCHEMA_VERSION, spec.identity(), {"predictions": list(batch.predictions)})


def judge_spec(name: str, protocol: JudgeProtocol[Any, Any], endpoint: EndpointSpec) -> ScorerSpec:
    """What a judge is: protocol, prompts and settings, model, and the endpoint's name (never its address)."""
    return ScorerSpec(
        name=name,
        kind="judge",
        cost="call",
        mode=protocol.mode,
        params={
            "protocol": protocol.name,
            "settings": fingerprint(protocol.identity()),
            "endpoint": endpoint.endpoint_name,
            "model": endpoint.model,
            **endpoint.reply_settings(),
        },
    )


def check_scorers(specs: Sequence[ScorerSpec]) -> None:
    """Refuse two scorers of one name: their columns would be one.

    Raises:
        ConfigError: names the scorer.
    """
    for name, count in Counter(spec.name for spec in specs).items():
        if count > 1:
            raise ConfigError(f"scorers: saw {count} called {name!r}; expected a name of its own for each; rename one")


def tasks_of(examples_by_set: Mapping[str, Sequence[Example]], tasks: Tasks) -> Tasks:
    """Those of `tasks` that occur: what workers are sent.

    Raises:
        ConfigError: a row of a task that is none of `tasks`.
    """
    names = {example.task for examples in examples_by_set.values() for example in examples}
    return Tasks(tuple(tasks.get(name) for name in sorted(names)))


def score_locally(
    scorers: Sequence[Scorer],
    predictions_key: str,
    predictions: Sequence[Prediction],
    examples: Mapping[str, Example],
    tasks: Tasks,
) -> list[ScoreRow]:
    """Rows of every local scorer over one predictions artifact: scorer by scorer, in the predictions' order.

    Raises:
        DataError: a prediction for an example that the evaluation set lacks.
    """
    answered = [row for row in predictions if row.error is None]
    requests = [
        ScoreRequest(example, tasks.get(example.task), row.prediction)
        for row in answered
        for example in [example_of(row, examples, predictions_key)]
    ]
    rows: list[ScoreRow] = []
    for scorer in scorers:
        outcomes = scorer.score(requests)
        assert len(outcomes) == len(requests), f"{scorer.spec.name}: one outcome per request"
        by_id = {row.example_id: outcome for row, outcome in zip(answered, outcomes, strict=True)}
        for row in predictions:
            outcome = by_id[row.example_id] if row.error is None else no_prediction(row)
            rows.append(score_row(scorer.spec.name, predictions_key, row.example_id, outcome))
    return rows


def example_of(row: Prediction, examples: Mapping[str, Example], predictions_key: str) -> Example:
    """The example that a prediction answers.

    Raises:
        DataError: the evaluation set lacks it.
    """
    example = examples.get(row.example_id)
    if example is None:
        raise DataError(
            f"predictions {predictions_key}: saw example {row.example_id!r}; expected one of the evaluation set's "
            f"{len(examples)}; the predictions belong to another set"
        )
    return example


def judge_instance(example: Example, prediction: str) -> PointwiseInstance:
    """What a pointwise judge is shown of one row: the question as a user would put it, not the model's template."""
    question = f"{example.instruction}\n\n{example.input}" if example.input else example.instruction
    return PointwiseInstance(question.strip(), prediction, example.reference, example.task)


def no_prediction(row: Prediction) -> Unscored:
    """The outcome of a row that has no answer to score."""
    return Unscored(NO_PREDICTION, row.error or "")


def score_row(scorer: str, predictions_key: str, example_id: str, outcome: Outcome) -> ScoreRow:
    """An outcome as it is stored."""
    if isinstance(outcome, Rating):
        value = round(float(outcome.value), RATING_DECIMALS)
        return ScoreRow(predictions_key, example_id, scorer, value, None, outcome.detail)
    return ScoreRow(predictions_key, example_id, scorer, None, outcome.reason, outcome.detail)


def sorted_rows(rows: Iterable[ScoreRow]) -> list[ScoreRow]:
    """Rows of one scores artifact in the order in which they are stored."""
    return sorted(rows, key=lambda row: (row.predictions_key, row.example_id))


def summarise(spec: ScorerSpec, rows: Sequence[ScoreRow]) -> dict[str, object]:
    """`summary.json` of a scores artifact: asked = scored + unscored by reason."""
    reasons = Counter(row.unscored for row in rows if row.unscored is not None)
    num_cut = sum(row.detail.startswith(CUT) for row in rows) if spec.cost == "model" else 0
    return {
        "scorer": spec.identity(),
        "num_asked": len(rows),
        "num_scored": len(rows) - reasons.total(),
        "unscored": dict(sorted(reasons.items())),
        **({"num_cut": num_cut} if num_cut else {}),
    }


def is_retryable(summary: Mapping[str, object]) -> bool:
    """Whether a stored summary counts failures that another try may not meet: calls without a reply."""
    unscored = summary.get("unscored")
    return isinstance(unscored, Mapping) and any(str(reason).startswith("error:") for reason in unscored)
