"""Pairs out of sampled answers: what a study's sources of preferences come to, made where the store has none.

Needs a started Ray. Answers, labels and pairs are artifacts of their own, so that what was stopped goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.errors import DataError, StageError
from assay.fingerprint import artifact_key, content_hash, fingerprint
from assay.generation.spec import KIND as PREDICTIONS
from assay.generation.spec import PREDICTIONS_FILE
from assay.hooks import Progress
from assay.judging.asking import JudgeConnection
from assay.mixtures.sampling import VALIDATION_FILE
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.preference.labelling import label_score, ranked, rejection_sampled
from assay.preference.principles import ask_critique, ask_revision, principle_for
from assay.preference.rows import KIND, PreferenceRow, PreferenceRows, prompt_of, sides_fault
from assay.preference.sources import LabelledAnswers, PairsAsked, RsoPairs
from assay.records import TEST, TRAIN, Example, MixtureRow, Prediction, ScoreRow, from_table, to_table
from assay.scoring.jobs import KIND as SCORES_KIND
from assay.scoring.jobs import SCORES_FILE, JudgeSetup, LocalScoring, sorted_rows, summarise
from assay.scoring.jobs import SUMMARY_FILE as SCORES_SUMMARY
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import PairVerdict
from assay.scoring.judges.protocols.pairwise import PairInstance, PairwiseJudge
from assay.scoring.protocol import ScorerSpec
from assay.store import Store
from assay.studies.preferences.comparing import (
    as_example,
    asked_at_once,
    compared_rows,
    judged_pairs,
    protocol_of,
    said_by_start,
)
from assay.studies.preferences.wanted import (
    SAMPLES_SCHEMA,
    Sampler,
    Samples,
    WantedPairs,
    answer_id,
    repeated,
    sampled,
)
from assay.studies.spec import Study
from assay.tasks.datasets.preferences import store_pairs
from assay.tasks.datasets.splits import content_split, split_line

NO_ANSWER = "no answer"
VERDICT_TOKENS = 48
"""Of a reply in which the start says which of two answers is better."""


@dataclass(frozen=True)
class PairMaker:
    """Makes pairs for one study."""

    study: Study
    store: Store
    progress: Progress
    datasets: Callable[[], Mapping[str, Sequence[Example]]]
    """Rows by the dataset's key; read when something is to be made."""
    judge: Callable[[ScorerSpec], JudgeSetup]
    """How the judge that labels is asked."""

    def make(self, wanted: Sequence[WantedPairs]) -> str:
        """Every artifact that is missing; a sentence of what was made, empty where nothing was.

        Raises:
            DataError: no preference is left.
            StageError: answers could not be generated.
        """
        there = self.store.present(KIND, [part.key for part in wanted])
        todo = [part for part in wanted if part.key not in there]
        said = []
        labelled = [part for part in todo if part.samples is not None]
        asked = [part for part in labelled if part.critique is None]
        both = [side for part in asked for side in (part.samples, part.losing) if side is not None]
        self.answer(both, self.prompts)
        for part in labelled:
            self._revise(part)
        for part in labelled:
            said.append(self._label(part) if part.losing is None else self._prefer(part, part.losing))
        return "; ".join(said)

    def prompts(self, samples: Samples) -> list[Example]:
        """The prompts of sampled answers: validation rows of a mixture."""
        rows = from_table(self.store.read_table(MIXTURE_KIND, samples.prompts, VALIDATION_FILE), MixtureRow)
        datasets = self.datasets()
        by_id = {key: {row.example_id: row for row in datasets[key]} for key in {row.dataset for row in rows}}
        return [by_id[row.dataset][row.example_id] for row in rows]

    def answer(self, samples: Sequence[Samples], prompts: Callable[[Samples], Sequence[Example]]) -> None:
        """Generate answers that are missing."""
        from assay.generation.ray_generate import run_generation

        distinct = {part.job.key: part for part in samples}
        missing = set(distinct) - self.store.present(PREDICTIONS, list(distinct))
        alike: dict[str, list[Samples]] = {}  # engines start once for all that are asked in one way
        for key in sorted(missing):
            alike.setdefault(fingerprint(distinct[key].spec), []).append(distinct[key])
        for parts in alike.values():
            rows = {part.job.evaluation_key: repeated(prompts(part), part.num) for part in parts}
            jobs, resources = [part.job for part in parts], self.study.resources.generation
            report = run_generation(self.store, jobs, rows, parts[0].spec, resources, self.progress)
            if report.failed:
                raise StageError(f"sampling answers: {next(iter(report.failed.values()))}; run the same command again")

    def score(self, samples: Samples, prompts: Sequence[Example], scorers: Sequence[ScorerSpec]) -> None:
        """Score answers where their scores are missing."""
        from assay.scoring.ray_score import run_scoring

        rows = {samples.job.evaluation_key: repeated(prompts, samples.num)}
        registry = self.study.registry
        specs = tuple(spec for spec in scorers if spec.kind != "judge")
        local = LocalScoring(specs, registry.tasks, registry.scorers)
        judges = [self.judge(spec) for spec in scorers if spec.kind == "judge"]
        run_scoring(self.store, [samples.batch], rows, local, judges, self.study.resources.scoring, self.progress)

    def _revise(self, wanted: WantedPairs) -> None:
        """Answers, then what is wrong with them, then better ones."""
        first, critique, last = wanted.losing, wanted.critique, wanted.samples
        if first is None or critique is None or last is None:
            return
        self.answer([first], self.prompts)
        prompts, answers = self.prompts(first), stored_answers(self.store, first.job.key)

        def said(row: Example, texts: Mapping[str, str]) -> str:
            return texts.get(answer_id(row.example_id, 0), "")

        self.answer([critique], lambda _: [ask_critique(row, said(row, answers), wanted.principles) for row in prompts])
        found = stored_answers(self.store, critique.job.key)
        self.answer(
            [last],
            lambda _: [ask_revision(row, said(row, answers), said(row, found), wanted.principles) for row in prompts],
        )

    def _label(self, wanted: WantedPairs) -> str:
        samples, label = wanted.samples, wanted.label
        assert samples is not None and label is not None
        prompts = self.prompts(samples)
        if isinstance(wanted.asked.spec, LabelledAnswers) and wanted.asked.spec.is_compared:
            self._compare(wanted, wanted.asked.spec, prompts)
        else:
            self.score(samples, prompts, [label])
        answers = stored_answers(self.store, samples.job.key)
        scores = stored_ratings(self.store, wanted.scores_key)
        rows, left_out = rows_of(wanted.asked, prompts, answers, scores, samples.num)
        return self._store(wanted, prompts, rows, left_out)

    def _compare(self, wanted: WantedPairs, spec: LabelledAnswers, prompts: Sequence[Example]) -> None:
        """Have answers compared two by two, where that was not done."""
        samples, label = wanted.samples, wanted.label
        assert samples is not None and label is not None
        if self.store.exists(SCORES_KIND, wanted.scores_key):
            return
        protocol = protocol_of(spec, self.study.mode)

        def compare(instances: Sequence[PairInstance]) -> Sequence[PairVerdict]:
            if wanted.start is not None:
                return self._asked_of_start(protocol, instances, wanted.start, samples)
            asked = self.judge(label)
            connection = JudgeConnection(asked.endpoint, asked.ledger_url, asked.budget_usd, asked.study)
            return judged_pairs(connection, protocol, instances, self.progress)

        answers = stored_answers(self.store, samples.job.key)
        rows = sorted_rows(compared_rows(label.name, samples.job.key, prompts, samples.num, answers, compare))
        described = {"scorer": label.identity(), "predictions": [samples.job.key]}
        with self.store.writing(SCORES_KIND, wanted.scores_key, described) as artifact:
            artifact.table(SCORES_FILE, to_table(rows, ScoreRow))
            artifact.json(SCORES_SUMMARY, summarise(label, rows))

    def _asked_of_start(
        self, protocol: PairwiseJudge, instances: Sequence[PairInstance], start: Sampler, samples: Samples
    ) -> list[PairVerdict]:
        """Verdicts of the start, whose replies are predictions like any other."""
        spec = self.study.generation.replace(
            temperature=0.0, max_prompt_tokens=self.study.generation.max_model_len - VERDICT_TOKENS
        )

        def reply(number: int, calls: Sequence[JudgeCall]) -> list[str]:
            said = {"asked": protocol.identity(), "step": number}
            rows = artifact_key("evaluation", SAMPLES_SCHEMA, said, {"answers": samples.job.key})
            asked = sampled(spec, start, rows, num=1, max_new_tokens=VERDICT_TOKENS)
            examples = [as_example(call, place) for place, call in enumerate(calls)]
            self.answer([asked], lambda _: examples)
            return said_by_start(stored_predictions(self.store, asked.job.key), examples, spec.max_prompt_tokens)

        return asked_at_once(protocol, instances, reply)

    def _prefer(self, wanted: WantedPairs, losing: Samples) -> str:
        """One side's answers to the other's, whatever they say."""
        assert wanted.samples is not None
        prompts = self.prompts(losing)
        winner, loser = (stored_answers(self.store, side.job.key) for side in (wanted.samples, losing))
        return self._store(wanted, prompts, *preferred(prompts, winner, loser, wanted.principles))

    def _store(
        self,
        wanted: WantedPairs,
        prompts: Sequence[Example],
        rows: Sequence[PreferenceRow],
        left_out: Mapping[str, int],
    ) -> str:
        if not rows:
            told = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
            raise DataError(f"pairs {wanted.asked.name!r}: saw no preference among {len(prompts)} prompts ({told})")
        spec = wanted.asked.spec.model_dump(mode="json")
        store_pairs(self.store, wanted.key, spec, PreferenceRows(tuple(rows), left_out))
        return f"{wanted.asked.name}: {len(rows):,} of {len(prompts):,} prompts have answers that differ"


def rows_of(
    asked: PairsAsked,
    prompts: Sequence[Example],
    answers: Mapping[str, str],
    scores: Mapping[str, float],
    num: int,
) -> tuple[list[PreferenceRow], dict[str, int]]:
    """The preferences of sampled answers, and why prompts have none.

    Args:
        asked: the source, with its planted bias.
        prompts: one row of preferences each, at most.
        answers: by `answer_id`; those that failed are absent.
        scores: the label's, by `answer_id`; those unscored are absent.
        num: answers to a prompt.
    """
    spec = asked.spec
    assert isinstance(spec, LabelledAnswers)
    rows = []
    left_out: Counter[str] = Counter()
    for prompt in prompts:
        ids = [answer_id(prompt.example_id, place) for place in range(num)]
        answered = [name for name in ids if name in answers]
        ids = [name for name in answered if name in scores]
        texts = [answers[name] for name in ids]
        labels = [label_score(scores[name], answers[name], spec.length_bias) for name in ids]
        if isinstance(spec, RsoPairs):
            rng = np.random.default_rng([spec.seed, int(content_hash(prompt.example_id.encode()), 16)])
            kept = rejection_sampled(labels, beta=spec.beta, count=spec.keep, rng=rng)
            texts, labels = [texts[place] for place in kept], [labels[place] for place in kept]
        found, ordered, why = ranked(texts, labels)
        if why:
            left_out[why if answered else NO_ANSWER] += 1
            continue
        rows.append(_row(prompt, found, ordered, f"{spec.kind}:{spec.label}"))
    return rows, dict(sorted(left_out.items()))


def preferred(
    prompts: Sequence[Example], winner: Mapping[str, str], loser: Mapping[str, str], principles: Sequence[str] = ()
) -> tuple[list[PreferenceRow], dict[str, int]]:
    """Pairs of two answers by `answer_id`, one to each prompt, and why prompts have none.

    Args:
        prompts: what both sides were asked.
        winner: what is preferred, whatever it says.
        loser: the other side.
        principles: those by one of which `winner` revised `loser`; empty where it did not.
    """
    rows = []
    left_out: Counter[str] = Counter()
    for prompt in prompts:
        name = answer_id(prompt.example_id, 0)
        if fault := no_pair(name, winner, loser):
            left_out[fault] += 1
        else:
            source = f"principles:{principle_for(prompt.example_id, principles)}" if principles else "stronger"
            rows.append(_row(prompt, (winner[name], loser[name]), None, source))
    return rows, dict(sorted(left_out.items()))


def no_pair(name: str, winner: Mapping[str, str], loser: Mapping[str, str]) -> str:
    """Why two answers make no pair; empty where they do."""
    if name not in winner or name not in loser:
        return NO_ANSWER
    return sides_fault([winner[name], loser[name]])


def _row(prompt: Example, answers: tuple[str, ...], scores: tuple[float, ...] | None, source: str) -> PreferenceRow:
    """A tenth of the prompts, by content, is for validation."""
    split = content_split(split_line(prompt.instruction, prompt.input, prompt.history_json), "strict")
    return PreferenceRow(
        id=prompt.example_id,
        prompt=prompt_of(prompt),
        answers=answers,
        scores=scores,
        source=source,
        split=TRAIN if split == TEST else split,
        task=prompt.task,
        meta_json=prompt.meta_json,
    )


def stored_answers(store: Store, key: str) -> dict[str, str]:
    """Texts of a predictions artifact by row id; rows that failed are absent."""
    return {row.example_id: row.prediction for row in stored_predictions(store, key) if row.error is None}


def stored_predictions(store: Store, key: str) -> list[Prediction]:
    """Rows of a predictions artifact."""
    return from_table(store.read_table(PREDICTIONS, key, PREDICTIONS_FILE), Prediction)


def stored_ratings(store: Store, key: str) -> dict[str, float]:
    """Ratings of a scores artifact of one predictions artifact by row id; rows unscored are absent."""
    rows = from_table(store.read_table(SCORES_KIND, key, SCORES_FILE), ScoreRow)
    return {row.example_id: row.rating for row in rows if row.rating is not None}
