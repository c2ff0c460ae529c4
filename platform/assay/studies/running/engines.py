"""What of a run starts an engine: joining Ray, the study's own base, a merge, trainings, answers, scores, a rehearsal.

One call each, told what to make; what is missing, and in which order, others decide. A test of a whole study puts
something in its place that writes down artifacts of the right form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.errors import ResourceError, StageError
from assay.hooks import Progress
from assay.scoring.jobs import CallFigures, JudgeSetup, LocalScoring, ScoringBatch
from assay.studies.artifacts import MergedBase, StudyArtifacts
from assay.studies.inputs import Datasets
from assay.studies.inside_trials import InsideTrials
from assay.studies.resources import check_resources
from assay.studies.running.opened import OpenedStudy
from assay.studies.running.overlap import Stop, judges_beside
from assay.studies.scores import ScoreJobs
from assay.studies.spec import TINY
from assay.studies.starts import make_merged_base
from assay.studies.tiny_bases import BASE_KIND, store_tiny_base

if TYPE_CHECKING:
    from assay.generation.spec import GenerationJob, GenerationSpec
    from assay.records import Example
    from assay.training.spec import TrainingJob


@dataclass
class Engines:
    """The engines of one study; each says with the study's costs what it did."""

    opened: OpenedStudy

    def join(self, stack: ExitStack) -> None:
        """Join or start Ray until `stack` closes.

        Raises:
            ResourceError: it can never give what the study asks for.
        """
        from assay.cluster.ray_cluster import check_storage, ray_cluster

        study = self.opened.study
        with self.opened.costs.stage("ray"):
            stack.enter_context(ray_cluster(study.resources))
            check_resources(study.resources, study.local_judge)
            check_storage(self.opened.store)

    def with_tiny_base(self, datasets: Datasets) -> StudyArtifacts:
        """The artifacts, with the folder of the study's own base where it has one; pre-trained first if need be."""
        opened = self.opened
        base, spec = opened.prepared.bases.get(TINY), opened.study.tiny_base
        if base is None:
            return opened.prepared.artifacts
        assert spec is not None
        name = opened.study.data.instructions
        key = datasets.keys.get(name, "")
        read = store_tiny_base(opened.store, spec, key, lambda: datasets.rows(name), opened.progress)
        if read:
            opened.costs.note("base", f"tiny base pre-trained on {read:,} documents, {spec.num_steps:,} steps")
        return opened.placed(opened.prepared.artifacts)

    def merged(self, wanted: Sequence[MergedBase]) -> dict[str, str]:
        """Folder of every merged base, made where it is missing."""
        store = self.opened.store
        for merged in wanted:
            if not store.exists(BASE_KIND, merged.key):
                make_merged_base(store, merged, self.opened.study.train.dtype)
                self.opened.costs.note("train", "instruction adapter written into its base")
        return {merged.key: str(store.local_dir(BASE_KIND, merged.key)) for merged in wanted}

    def rehearse(
        self,
        trainings: Sequence[TrainingJob],
        generations: Sequence[GenerationJob],
        examples: Mapping[str, Sequence[Example]],
    ) -> None:
        """Try each base before hours of training."""
        from assay.studies.preflight.ray_preflight import how_it_runs, run_preflight
        from assay.studies.preflight.rehearsal import rehearsals

        resources = self.opened.study.resources
        how = how_it_runs(resources.training, self.opened.study.generation, resources.generation)
        for said in run_preflight(self.opened.store, rehearsals(trainings, generations), examples, how):
            self.opened.costs.note("preflight", said)

    def train(self, jobs: Sequence[TrainingJob], inside: InsideTrials | None, stop: Stop | None = None) -> None:
        """Train these, several at a time.

        Raises:
            LimitReached: it was to stop.
        """
        from assay.training.sweep.ray_sweep import Cuts, run_sweep

        opened, resources = self.opened, self.opened.study.resources.training
        hooks = None if inside is None else inside.hooks
        report = run_sweep(opened.store, jobs, resources, opened.progress, make_hooks=hooks, cuts=Cuts(stop=stop))
        made = [job for job in report.jobs if job.status in ("trained", "held")]
        for job in made:  # one that was held goes on in another sweep
            seconds = opened.costs.trainings.get(job.key, 0.0)
            opened.costs.trainings[job.key] = seconds + job.step_s * resources.num_workers
        shared = f", {len(jobs) - len(made)} by a study beside this one" if len(made) < len(jobs) else ""
        held = sum(job.status == "held" for job in made)
        waiting = f", {held} of them up to a barrier" if held else ""
        opened.costs.note(
            "train",
            f"{len(made)} trainings on {report.slots} slots{shared}{waiting}, {report.step_s:.0f} s of pure optimizer "
            f"steps, the first step after {report.first_step_s:.0f} s"
            + (
                f", {report.eval_s:.0f} s of evaluations inside trials, {report.eval_s / report.trial_s:.0%} of the "
                "trials' time"
                if report.eval_s
                else ""
            ),
        )

    def generate(
        self, jobs: Sequence[GenerationJob], examples: Mapping[str, Sequence[Example]], spec: GenerationSpec
    ) -> None:
        """Have models answer evaluation sets.

        Raises:
            StageError: a model has no answer to a whole set.
        """
        from assay.generation.ray_generate import run_generation

        opened = self.opened
        resources = opened.study.resources.generation
        report = run_generation(opened.store, jobs, examples, spec, resources, opened.progress)
        if report.failed:
            key, reason = next(iter(report.failed.items()))
            raise StageError(
                f"generation: {len(report.failed)} of {len(jobs)} pairs have no answer at all; the first, {key}: "
                f"{reason}; fix it and run the same command again"
            )
        opened.costs.note(
            "generate", f"{report.num_rows:,} rows, {report.num_tokens:,} tokens, {report.num_error_rows} error rows"
        )

    def num_beside(self, judge: JudgeSetup) -> int:
        """Judge actors that this cluster has CPUs for beside trainings; 0: trainings have all."""
        from assay.cluster.ray_nodes import capacity
        from assay.scoring.ray_judge_place import num_judges

        resources = self.opened.study.resources.scoring
        return judges_beside(num_judges(judge, resources), resources.cpus_per_worker, capacity().total("CPU"))

    @contextmanager
    def room_beside(self, judge: JudgeSetup) -> Iterator[JudgeSetup | None]:
        """CPUs that a judge has until the block ends while trainings have the others; None: not both have room."""
        from assay.cluster.ray_nodes import capacity
        from assay.scoring.ray_judge_place import judge_aside
        from assay.training.sweep.slots import slots_of

        resources = self.opened.study.resources
        with ExitStack() as stack:
            placed = stack.enter_context(judge_aside(judge, resources.scoring, self.num_beside(judge)))
            if placed is not None:
                try:
                    slots_of(resources.training, capacity())
                except ResourceError:  # nothing could train beside it
                    stack.close()
                    placed = None
            yield placed

    def score(
        self,
        scoring: ScoreJobs,
        batches: Sequence[ScoringBatch],
        examples: Mapping[str, Sequence[Example]],
        judges: Sequence[JudgeSetup],
        progress: Progress | None = None,
    ) -> None:
        """Score answers by the study's local scorers and by these judges.

        Args:
            scoring: the local scorers.
            batches: of answers.
            examples: rows by the batches' evaluation keys.
            judges: how they are asked.
            progress: told of rows; None: the study's.

        Raises:
            LimitReached: the budget stopped a judge.
        """
        from assay.scoring.ray_score import run_scoring

        opened, registry = self.opened, self.opened.study.registry
        report = run_scoring(
            opened.store,
            batches,
            examples,
            LocalScoring(scoring.local, registry.tasks, registry.scorers),
            judges,
            opened.study.resources.scoring,
            progress or opened.progress,
            retry_failed=opened.retry_failed,
        )
        for name, calls in report.calls.items():
            usd = "price unknown" if calls.usd is None else f"{calls.usd:.4f} dollars"
            opened.costs.note(
                "score",
                f"{name}: {calls.done:,} judgements, {calls.cached:,} from the ledger, {calls.attempts:,} calls, "
                f"{calls.prompt_tokens + calls.completion_tokens:,} tokens, {_cached(calls)}{usd}",
            )


def _cached(calls: CallFigures) -> str:
    share = calls.cached_tokens / calls.prompt_tokens if calls.prompt_tokens else 0.0
    return f"{share:.0%} of the prompts' cached by the endpoint, " if share else ""
