"""Which scores a study wants, by key: scorers and judge from their names, and the batches of each wave. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from assay.errors import ConfigError, DataError, StageError
from assay.fingerprint import delimited_hash, fingerprint
from assay.generation.spec import KIND as PREDICTIONS
from assay.generation.spec import PREDICTIONS_FILE
from assay.judging.asking import unread_text
from assay.llm.endpoint import EndpointSpec
from assay.metaeval.study_tables.build import RunRow, ScorerInfo
from assay.records import Mode
from assay.scoring.jobs import (
    KIND,
    NO_PREDICTION,
    SCORES_FILE,
    PointwiseProtocol,
    ScoringBatch,
    judge_spec,
    make_batches,
    scores_key,
)
from assay.scoring.judges.protocols.criteria import CriteriaJudge, JudgeByTask, by_task
from assay.scoring.judges.protocols.repeats import RepeatedJudge, repeat_ratings, repeated
from assay.scoring.judges.protocols.retries import RetriedJudge, retried
from assay.scoring.judges.table import SHIPPED_PROTOCOLS, Protocols
from assay.scoring.protocol import ScorerSpec
from assay.scoring.scorers.models import CONTENT_KEY, MODEL, resolve
from assay.store import Store
from assay.studies.artifacts import StudyArtifacts
from assay.studies.spec import JUDGE, JudgeConfig, Study

if TYPE_CHECKING:
    import pyarrow as pa

TASKS = "tasks"
"""Parameter of scorers that look at tasks: 32 hex digits over what a study's own tasks say of right answers."""
LABELERS = ("objecqa", "category")
"""Pointwise protocols that name a class and give no score."""


@dataclass(frozen=True)
class ScoreJobs:
    """All scores of a study."""

    local: tuple[ScorerSpec, ...]
    """Scorers that need no network."""
    judge: ScorerSpec | None
    waves: tuple[tuple[ScoringBatch, ...], ...]
    """Batches of each wave of trainings."""
    joined: Mapping[str, str] = field(default_factory=dict)
    """Key of predictions -> key of those that they were made a part of; absent where they are no part."""

    @property
    def specs(self) -> tuple[ScorerSpec, ...]:
        return self.local if self.judge is None else (*self.local, self.judge)

    @property
    def keys(self) -> list[str]:
        """Keys of all scores artifacts."""
        return [scores_key(spec, batch) for wave in self.waves for batch in wave for spec in self.specs]

    @property
    def infos(self) -> tuple[ScorerInfo, ...]:
        """What the tables say of the scorers."""
        return tuple(
            ScorerInfo(spec.name, spec.version, spec.direction, spec.low, spec.high, spec.kind) for spec in self.specs
        )


def score_jobs(study: Study, plan: StudyArtifacts, endpoint: EndpointSpec) -> ScoreJobs:
    """The scores of a study.

    Raises:
        ConfigError: an unknown scorer or judge protocol.
    """
    local = local_scorers(study)
    judge = None
    if JUDGE in study.scorers:
        judge = judge_spec(JUDGE, study_protocol(study), endpoint)
    waves = []
    for wave in plan.waves(study.resources.wave_size):
        waves.append(make_batches(wave.answers))
    return ScoreJobs(local, judge, tuple(waves))


def local_scorers(study: Study) -> tuple[ScorerSpec, ...]:
    """All scorers but the judge, their models found.

    Raises:
        ConfigError: an unknown scorer or parameter.
        InputError: a model that cannot be found.
    """
    return tuple(resolve(spec) for spec in scorer_specs(study))


def scorer_specs(study: Study) -> tuple[ScorerSpec, ...]:
    """All scorers but the judge, as the study names them: no model is looked for.

    Raises:
        ConfigError: an unknown scorer or parameter.
    """
    table, own = study.registry.scorers, _tasks_said(study)
    found = []
    for name in study.scorers:
        if name != JUDGE:
            spec = table.spec(name, study.mode, **study.scorer_params.get(name, {}))
            found.append(spec.replace(params={**spec.params, TASKS: own}) if own and table.reads_tasks(name) else spec)
    return tuple(found)


def _tasks_said(study: Study) -> str:
    """Names what the study's own tasks say of right answers; empty where it has none."""
    said = {name: study.registry.tasks.get(name).scoring_identity() for name in study.own_tasks}
    if said and (behind := study.registry.plugins_of(scorers=(), protocol="", heuristics=_rules_of(study))):
        return fingerprint([said, behind])
    return fingerprint(said) if said else ""


def _rules_of(study: Study) -> list[str]:
    return [study.registry.tasks.get(name).heuristic for name in study.own_tasks]


def content_keys(study: Study) -> dict[str, str]:
    """What names the model or the labels behind each scorer that has any: their content, where that is known."""
    found = {}
    for spec in local_scorers(study):
        if CONTENT_KEY in spec.params:
            found[spec.name] = str(spec.params[CONTENT_KEY])
        elif MODEL in study.scorer_params.get(spec.name, {}):
            found[spec.name] = str(spec.params[MODEL])
    return found


def study_protocol(study: Study) -> PointwiseProtocol:
    """The protocol that a study's judge rates answers by.

    Raises:
        ConfigError: there is none of its name.
    """
    return judge_protocol(study.judge, study.mode, study.registry.protocols, criteria_judges(study))


def criteria_judges(study: Study) -> dict[str, CriteriaJudge]:
    """The judges of tasks with criteria of their own, by task."""
    tasks = [study.registry.tasks.get(name) for name in study.own_tasks]
    judge = study.judge
    return {
        task.name: CriteriaJudge(
            task.criteria,
            *task.scale,
            mode=study.mode,
            temperature=judge.temperature,
            structured=judge.structured,
        )
        for task in tasks
        if task.criteria
    }


def judge_protocol(
    judge: JudgeConfig,
    mode: Mode,
    protocols: Protocols = SHIPPED_PROTOCOLS,
    own: Mapping[str, CriteriaJudge] = MappingProxyType({}),
) -> PointwiseProtocol:
    """The pointwise protocol that a study names: one of the table's that rate an answer.

    Raises:
        ConfigError: there is none of this name.
    """
    if judge.prompt is not None:
        asked: PointwiseProtocol = CriteriaJudge(
            "",
            *judge.scale,
            mode=mode,
            temperature=judge.temperature,
            structured=judge.structured,
            prompt_text=judge.prompt.text,
            name=judge.protocol,
        )
        return repeated(retried(by_task(asked, own), judge.retry_unreadable), judge.repeats)
    known = [name for name in protocols.names("pointwise") if name not in LABELERS]
    if judge.protocol not in known:
        raise ConfigError(f"judge.protocol: saw {judge.protocol!r}; expected one of {', '.join(known)}")
    options: dict[str, Any] = {"structured": True} if judge.structured else {}
    if not judge.protocol.startswith("geval"):  # its samples stand for probabilities: they are drawn at temperature 1
        options["temperature"] = judge.temperature
    protocol: PointwiseProtocol = protocols.pointwise(judge.protocol, mode, **options)
    return repeated(retried(by_task(protocol, own), judge.retry_unreadable), judge.repeats)


def calls_per_row(protocol: PointwiseProtocol) -> int:
    """Judge calls for one answer, further ones for unreadable replies left out."""
    if isinstance(protocol, RepeatedJudge):
        return protocol.repeats * calls_per_row(protocol.protocol)
    if isinstance(protocol, (RetriedJudge, JudgeByTask)):
        return calls_per_row(protocol.protocol)
    samples = getattr(protocol, "samples", 1)
    return samples if isinstance(samples, int) and not getattr(protocol, "logprobs", False) else 1


def stored_scores(store: Store, plan: ScoreJobs) -> list[pa.Table]:
    """All score rows of a study, one table per artifact; rows of parts bear the key of their whole."""
    tables = [store.read_table(KIND, key, SCORES_FILE) for key in plan.keys]
    return [_renamed(table, plan.joined) for table in tables] if plan.joined else tables


def _renamed(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    place = table.schema.get_field_index("predictions_key")
    keys = [names.get(key, key) for key in table.column(place).to_pylist()]
    return table.set_column(place, table.schema.field(place), pa.array(keys, table.schema.field(place).type))


def check_judged(store: Store, plan: ScoreJobs) -> None:
    """Refuse a study in which the judge scored no row at all, before its tables say so with nothing but gaps.

    Raises:
        DataError: no row had a prediction.
        StageError: no reply could be read, or none came.
    """
    if plan.judge is None:
        return
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for wave in plan.waves:
        for batch in wave:
            table = store.read_table(KIND, scores_key(plan.judge, batch), SCORES_FILE)
            if table["rating"].null_count < table.num_rows:
                return
            for reason, detail in zip(table["unscored"].to_pylist(), table["detail"].to_pylist(), strict=True):
                reasons[reason] += 1
                examples.setdefault(reason, detail)
    if not reasons:
        return
    if set(reasons) == {NO_PREDICTION}:
        raise DataError(
            f"judge: saw no prediction in any of {reasons.total():,} rows; expected some; see the generation"
        )
    raise StageError(
        f"judge {plan.judge.params['model']}: scored none of {reasons.total():,} rows: {unread_text(reasons, examples)}"
    )


def of_runs(scores: Sequence[pa.Table], runs: Sequence[RunRow]) -> list[pa.Table]:
    """The score rows of these runs alone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = pa.array(sorted({run.predictions_key for run in runs}), pa.string())
    return [table.filter(pc.is_in(table.column("predictions_key"), value_set=keys)) for table in scores]


def ratings_by_run(scores: Sequence[pa.Table]) -> dict[str, dict[str, dict[str, float]]]:
    """Predictions key -> scorer -> rating by example; rows unscored are absent."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for table in scores:
        columns = (table.column(name).to_pylist() for name in ("predictions_key", "scorer", "example_id", "rating"))
        for key, scorer, example, rating in zip(*columns, strict=True):
            if rating is not None:
                found.setdefault(key, {}).setdefault(scorer, {})[example] = rating
    return found


def repeat_table(store: Store, scores: Sequence[pa.Table], repeats: int) -> pa.Table | None:
    """What a repeated judge gave each time, as `make_frame` takes it; None for a judge that is asked once.

    Args:
        store: for the answers that were judged.
        scores: score rows of a study, as stored.
        repeats: `judge.repeats` of the study.
    """
    if repeats == 1:
        return None
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = pa.concat_tables(scores)
    is_judged = pc.not_equal(pc.fill_null(rows.column("unscored"), ""), NO_PREDICTION)
    judged = rows.filter(pc.and_(pc.equal(rows.column("scorer"), JUDGE), is_judged))
    keys, ids = (judged.column(name).to_pylist() for name in ("predictions_key", "example_id"))
    answers = {key: _answers(store, key) for key in sorted(set(keys))}
    ratings = repeat_ratings(judged.column("detail").to_pylist())
    known = {
        **{name: judged.column(name) for name in ("predictions_key", "example_id", "scorer")},
        "answer": pa.array([answers[key][example] for key, example in zip(keys, ids, strict=True)], pa.string()),
    }
    parts = []
    for number in range(repeats):
        of_repeat = pa.array([row[number] for row in ratings], pa.float64())
        parts.append(pa.table({**known, "repeat": pa.array([number] * len(ratings), pa.int64()), "rating": of_repeat}))
    return pa.concat_tables(parts)


def _answers(store: Store, key: str) -> dict[str, str]:
    """Hash of each answer by example, of a predictions artifact."""
    table = store.read_table(PREDICTIONS, key, PREDICTIONS_FILE)
    examples, texts = (table.column(name).to_pylist() for name in ("example_id", "prediction"))
    return {example: delimited_hash([text]) for example, text in zip(examples, texts, strict=True)}
