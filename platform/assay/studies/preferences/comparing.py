"""Answers to one prompt compared two by two, in both orders, by a judge or by the start itself (RLAIF).

What comes of it is a scores artifact like any other: the rating of an answer is the share of its comparisons that it
won. An answer that could not be compared has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from assay.errors import DataError
from assay.fingerprint import fingerprint
from assay.hooks import Progress
from assay.judging.asking import JudgeConnection, Work, ask_judge, calls_of, check_answered
from assay.llm.endpoint import EndpointSpec
from assay.preference.comparing import OrderedVerdicts, every_two, win_shares
from assay.preference.rows import prompt_of, question_text
from assay.preference.sources import LabelledAnswers
from assay.records import Example, Mode, Prediction, Rating, ScoreRow, Unscored
from assay.scoring.jobs import NO_PREDICTION, judge_spec, score_row
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import PairVerdict
from assay.scoring.judges.protocols.pairwise import PairInstance, PairwiseJudge, make_pairwise_judge
from assay.scoring.protocol import ScorerSpec
from assay.studies.preferences.wanted import answer_id

NO_VERDICT = "no verdict"
START_VERSION = 2
"""Of the start's scores: 2 reads no verdict where the question lost a part: nobody can compare what is not shown."""
Compare = Callable[[Sequence[PairInstance]], Sequence[PairVerdict]]
"""Who compares: a verdict for each instance, in their order."""


def protocol_of(spec: LabelledAnswers, mode: Mode) -> PairwiseJudge:
    """How two answers are shown and the reply is read; the start is asked once, as it would say the same again."""
    made = make_pairwise_judge(spec.strategy, mode)
    return replace(made, max_reasks=0) if spec.is_judged_by_start else made


def judge_as_scorer(spec: LabelledAnswers, mode: Mode, endpoint: EndpointSpec) -> ScorerSpec:
    """The judge that compares, as scores are keyed by it."""
    return judge_spec(spec.label, protocol_of(spec, mode), endpoint)


def start_as_scorer(spec: LabelledAnswers, mode: Mode) -> ScorerSpec:
    """The start that judges, as scores are keyed by it; the answers' own key says which model it is."""
    protocol = protocol_of(spec, mode)
    params = {"protocol": protocol.name, "settings": fingerprint(protocol.identity()), "model": "the start"}
    return ScorerSpec(name=spec.label, version=START_VERSION, kind="judge", cost="call", mode=mode, params=params)


def compared_rows(
    scorer: str, key: str, prompts: Sequence[Example], num: int, answers: Mapping[str, str], compare: Compare
) -> list[ScoreRow]:
    """A score of every answer.

    Args:
        scorer: name of the label.
        key: of the answers' artifact.
        prompts: what was answered.
        num: answers to each.
        answers: text by `answer_id`; those that failed are absent.
        compare: asked once, about all pairs of distinct answers.
    """
    asked: list[tuple[str, tuple[int, int]]] = []
    instances: list[PairInstance] = []
    distinct: dict[str, list[str]] = {}
    for prompt in prompts:
        known = [answers[name] for name in _ids(prompt, num) if name in answers]
        texts = distinct[prompt.example_id] = list(dict.fromkeys(text.strip() for text in known if text.strip()))
        question = question_text(prompt_of(prompt))
        for places in every_two(len(texts)):
            asked.append((prompt.example_id, places))
            instances.append(PairInstance(question, texts[places[0]], texts[places[1]]))
    verdicts: dict[str, dict[tuple[int, int], OrderedVerdicts]] = {}
    for (name, places), found in zip(asked, compare(instances) if instances else (), strict=True):
        both = OrderedVerdicts(found.original.winner, found.swapped.winner)
        verdicts.setdefault(name, {})[places] = both
    return [
        row
        for prompt in prompts
        for row in _rows(scorer, key, prompt, num, answers, distinct[prompt.example_id], verdicts)
    ]


def _rows(
    scorer: str,
    key: str,
    prompt: Example,
    num: int,
    answers: Mapping[str, str],
    texts: Sequence[str],
    verdicts: Mapping[str, Mapping[tuple[int, int], OrderedVerdicts]],
) -> Iterator[ScoreRow]:
    known = verdicts.get(prompt.example_id, {})
    shares = dict(zip(texts, win_shares(len(texts), known) if len(texts) > 1 else [0.5], strict=False))
    for name in _ids(prompt, num):
        share = shares.get(answers.get(name, "").strip())
        if share is None:
            yield score_row(scorer, key, name, Unscored(NO_PREDICTION))
        elif math.isnan(share):
            yield score_row(scorer, key, name, Unscored(NO_VERDICT))
        else:
            yield score_row(scorer, key, name, Rating(share))


def judged_pairs(
    connection: JudgeConnection, protocol: PairwiseJudge, instances: Sequence[PairInstance], progress: Progress
) -> list[PairVerdict]:
    """Verdicts of the study's judge, through its gateway and ledger.

    Raises:
        EndpointError: no call brought a reply.
        LimitReached: the dollars are used up; the same command continues.
        StageError: no reply could be read.
    """
    asked = ask_judge(connection, [Work(protocol, instances, "answers compared")], protocol.mode, progress)
    check_answered(calls_of(asked))
    return asked.judgements[0]


def _ids(prompt: Example, num: int) -> list[str]:
    return [answer_id(prompt.example_id, place) for place in range(num)]


def asked_at_once(
    protocol: PairwiseJudge, instances: Sequence[PairInstance], reply: Callable[[int, Sequence[JudgeCall]], list[str]]
) -> list[PairVerdict]:
    """Verdicts where all calls of a step are answered in one batch.

    Args:
        protocol: what is asked.
        instances: pairs.
        reply: the texts that answer a step's calls, in their order; empty where there is none. Told the step's number.
    """
    found: dict[int, PairVerdict] = {}
    steps = {place: protocol.run(instance) for place, instance in enumerate(instances)}
    waiting = {place: next(running) for place, running in steps.items()}
    number = 0
    while waiting:
        texts = iter(reply(number, [call for calls in waiting.values() for call in calls]))
        further: dict[int, Sequence[JudgeCall]] = {}
        for place, calls in waiting.items():
            try:
                further[place] = steps[place].send([next(texts) for _ in calls])
            except StopIteration as stop:
                found[place] = stop.value
        waiting, number = further, number + 1
    return [found[place] for place in range(len(instances))]


def said_by_start(rows: Sequence[Prediction], examples: Sequence[Example], longest: int) -> list[str]:
    """The start's replies in the order of its questions; empty where there is none, or a question was cut.

    Args:
        rows: what it answered, by `answer_id` of the questions.
        examples: the questions, see `as_example`.
        longest: tokens that a question may have.

    Raises:
        DataError: every question was cut.
    """
    if rows and all(row.prompt_cut for row in rows):
        raise DataError(
            f"label 'self': saw questions of a verdict that are all longer than {longest} tokens; expected the start "
            "to read both answers; raise generation.max_model_len, or take the strategy vanilla_norules"
        )
    said = {row.example_id: row.prediction for row in rows if row.error is None and not row.prompt_cut}
    return [said.get(answer_id(row.example_id, 0), "") for row in examples]


def as_example(call: JudgeCall, place: int) -> Example:
    """A call as a question that a model is asked: all of its messages in one text."""
    text = "\n\n".join(message.content for message in call.messages)
    return Example(f"call#{place:06d}", "instructions", "test", text, "", "")
