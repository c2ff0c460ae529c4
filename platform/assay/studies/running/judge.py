"""What a study asks its judge beside scores: whether it is there, labels of trials' answers, ranks, error readings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.hooks import SilentProgress
from assay.scoring.jobs import JudgeSetup, judge_instance
from assay.stoppable import run_stoppable
from assay.studies.artifacts import EvaluationSet, StudyArtifacts
from assay.studies.error_analysis import ask_patterns, low_rows
from assay.studies.inputs import Datasets
from assay.studies.judge_endpoint import check_endpoint, endpoint_of
from assay.studies.preferences.steps import AskJudge
from assay.studies.running.opened import OpenedStudy
from assay.studies.scores import ScoreJobs, stored_scores, study_protocol
from assay.studies.spec import JUDGE, JudgeConfig
from assay.studies.writer import Writer, make_writer

if TYPE_CHECKING:
    import pyarrow as pa

    from assay.llm.endpoint import EndpointSpec
    from assay.records import Example
    from assay.scoring.protocol import ScorerSpec


@dataclass(frozen=True)
class StudyJudge:
    """The judge of one study, and how it is reached."""

    opened: OpenedStudy

    def endpoint(self, stack: ExitStack) -> EndpointSpec:
        """The judge's endpoint; starts the embedded server, until `stack` closes, where it is the judge."""
        study, embedded, url = self.opened.study, self.opened.embedded, None
        if study.judge.is_embedded and (JUDGE in study.scorers or study.grid.asks_judge):
            url = stack.enter_context(embedded.start())
        return endpoint_of(study.judge, embedded_url=url, embedded_name=embedded.name)

    def setup(self, spec: ScorerSpec, endpoint: EndpointSpec) -> JudgeSetup:
        """How it is asked for scores or labels."""
        opened = self.opened
        protocol = study_protocol(opened.study)
        return JudgeSetup(spec, protocol, endpoint, opened.ledger, opened.budget_usd, opened.study.name)

    def asks(self, endpoint: EndpointSpec) -> AskJudge:
        """`setup` at one endpoint."""
        return lambda spec: self.setup(spec, endpoint)

    def writer(self, config: JudgeConfig) -> Writer:
        """A model that writes texts, under the study's budget."""
        opened = self.opened
        return make_writer(
            config,
            opened.embedded,
            ledger_url=opened.ledger,
            budget_usd=opened.budget_usd,
            study=opened.study.name,
        )

    def check(self) -> None:
        """Refuse a judge that cannot be asked before hours of training; not where it has said all already."""
        opened = self.opened
        if not opened.study.asks_judge or opened.study.judge.is_embedded:
            return
        labels = opened.prepared.objecqa
        has_labels = labels is None or labels.is_done(opened.store)
        if not has_labels or not opened.has_scores(opened.prepared.scoring):
            check_endpoint(opened.prepared.endpoint)

    def ask_once(self, row: Example) -> None:
        """One call, over a row's own reference; a local judge is loaded with its first batch.

        Raises:
            EndpointError: it brings no reply.
        """
        from assay.judging.asking import JudgeConnection, Work, ask_judge, calls_of, check_answered

        opened, study = self.opened, self.opened.study
        endpoint = opened.prepared.endpoint
        if not endpoint.kind.is_remote:
            return
        connection = JudgeConnection(endpoint, opened.ledger, opened.budget_usd, study.name)
        work = Work(study_protocol(study), [judge_instance(row, row.reference)], "preflight")
        asked = ask_judge(connection, [work], study.mode, SilentProgress())
        calls = calls_of(asked)
        check_answered({**calls, "unanswered": [{**part, "unread": ""} for part in calls["unanswered"]]})
        opened.costs.note("preflight", f"the judge {study.judge.model} replied")

    def tell_versions(self) -> None:
        """Say where the judge changed under the study: its numbers are then of two instruments."""
        from assay.llm.ledger.report import changed_versions, versions_text

        opened = self.opened
        told = versions_text(changed_versions(opened.ledger, opened.study.name))
        if told and told not in opened.costs.notes.get("score", ""):
            opened.costs.note("score", told)
            logging.getLogger(__name__).warning("%s", told)

    def label_answers(self) -> None:
        """Have it label the preference answers that the trials left; no trial waits for it."""
        from assay.ifs.objecqa_labels import judge_answers
        from assay.judging.asking import JudgeConnection

        opened, study = self.opened, self.opened.study
        asked = opened.prepared.objecqa
        if asked is None or asked.is_done(opened.store):
            return
        with ExitStack() as stack:
            url = stack.enter_context(opened.embedded.start()) if study.judge.is_embedded else None
            endpoint = endpoint_of(study.judge, embedded_url=url, embedded_name=opened.embedded.name)
            connection = JudgeConnection(endpoint, opened.ledger, opened.budget_usd, study.name)
            stats = judge_answers(opened.store, asked, connection, study.mode, opened.progress)
        if stats is not None:
            opened.costs.note("objecqa", f"{stats.done:,} labels, {stats.cached:,} from the ledger")

    def ranked(
        self, plan: StudyArtifacts, sets: Mapping[str, EvaluationSet], datasets: Datasets
    ) -> dict[str, pa.Table]:
        """All models ranked over the prompts that they share, where the design asks for it; replies are kept."""
        opened, study = self.opened, self.opened.study
        how = study.grid.ranking
        if how is None:
            return {}
        from assay.judging.asking import JudgeConnection
        from assay.studies.given.ranking import RankedBy, rank_models, shared_prompts

        by = RankedBy(how, study.baseline or "", study.mode)
        rows = {name: datasets.evaluation_rows(part) for name, part in sets.items()}
        shared = shared_prompts(opened.store, plan.runs, rows)
        with ExitStack() as stack:
            connection = JudgeConnection(
                self.endpoint(stack), opened.ledger, opened.budget_usd, study.name, study.judge.retry_unreadable
            )
            ranked = rank_models(shared, by, study.grid.test_losses, connection, opened.progress)
        calls = ranked.calls
        usd = "price unknown" if calls["usd"] is None else f"{calls['usd']:.4f} dollars"
        opened.costs.note("rank", f"{calls['calls']:,} calls, {calls['from_ledger']:,} from the ledger, {usd}")
        return dict(ranked.tables)

    def read_errors(
        self, plan: StudyArtifacts, scoring: ScoreJobs, datasets: Datasets, sets: Mapping[str, EvaluationSet]
    ) -> Sequence[Mapping[str, Any]]:
        """What it sees in the lowest rated answers of each task."""
        opened, study = self.opened, self.opened.study
        if not study.error_rows or JUDGE not in study.scorers:
            return []
        import pyarrow as pa

        human = next(info for info in scoring.infos if info.name == study.statistics.human)
        examples = {name: datasets.evaluation_rows(part) for name, part in sets.items()}
        scores = pa.concat_tables(stored_scores(opened.store, scoring))

        def answers(key: str) -> dict[str, str]:
            table = opened.store.read_table("predictions", key, "predictions.parquet")
            return dict(zip(table["example_id"].to_pylist(), table["prediction"].to_pylist(), strict=True))

        found = low_rows(plan.runs, scores, examples, answers, human, study.error_rows)
        asked = run_stoppable(ask_patterns(found, self.writer(study.judge), study.registry.tasks))
        opened.costs.note("errors", f"{len(asked)} readings of the lowest rated answers")
        return asked
