"""What a study would do and cost, before anything is done: cells, distinct trainings, tokens, GPU-hours, dollars.

Touches nothing and imports no engine. Where a dataset can be read here its rows are counted, else the sizes that
its source states are taken; every assumption is listed with the plan.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from assay.errors import ConfigError
from assay.ifs.objecqa import labelled_answers, preference_questions
from assay.ifs.trial_spec import TrialIfsSpec
from assay.llm.prices import price_of, table_date
from assay.metaeval.study_tables.frame import RunRow
from assay.mixtures.shares import largest_remainder
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.mixtures.synthesis import SyntheticRows
from assay.model_folders import SHIPPED, num_parameters
from assay.studies.cells import expand
from assay.studies.deciding.spec import DecideSpec
from assay.studies.designs.asked import AskedSet
from assay.studies.designs.cell import Cell
from assay.studies.given.found import find_endpoints
from assay.studies.judge_endpoint import endpoint_of
from assay.studies.planning.deciding import DecideEstimate, Spend, decide_estimate
from assay.studies.planning.exits import EXITS_NOTE, least_trained
from assay.studies.planning.outline import CHARS_PER_TOKEN, DatasetOutline, outline_datasets
from assay.studies.planning.preferences import pairs_tokens, preference_work
from assay.studies.planning.throughput import Rates, rates
from assay.studies.scores import calls_per_row, scorer_specs, study_protocol
from assay.studies.spec import JUDGE, TINY, JudgeConfig, Study
from assay.tasks.catalog import INSTRUCTION_CATEGORIES
from assay.tasks.tagging import JudgeTags
from assay.training.schedule import schedule_of
from assay.training.spec import TrainSpec

WRITER_PROMPT_TOKENS = 300
"""Tokens of what is asked of the writer or tagger, without the rows that it is shown."""
TAG_REPLY_TOKENS = 4.0
JUDGE_PROMPT_TOKENS = 170
"""Tokens of the judge's own instructions (the paper's prompt A.3 has about 150 words)."""
JUDGE_REPLY_TOKENS = 8
CATEGORY_SHARE = 1 / (1 + len(INSTRUCTION_CATEGORIES))
"""Of an instruction set's rows, as if its categories and Other were equally frequent."""
PROMPT_TOKENS = 40
"""Tokens of an IFS prompt or preference question with its headings."""


@dataclass(frozen=True)
class Estimate:
    """A study in numbers. Counts are exact unless `assumptions` says otherwise; costs are estimates."""

    study: str
    mode: str
    cells: int
    distinct_trainings: int
    cells_per_base: int
    trainings_per_base: int
    """Of one base model; all have the same."""
    train_rows: int
    """Rows of all distinct trainings' mixtures together."""
    train_tokens: int
    """Tokens that pass through training, repeats by epochs included."""
    predictions: int
    judge_calls: int
    """At most: equal answers to equal prompts are judged once."""
    writer_calls: int
    """At least, for synthetic rows and tags: a row that cannot be used is asked for again."""
    usd: float | None
    """Dollars of judge and writer; None where the model's price is unknown."""
    gpu_hours: float | None
    """Hours of one `device` in training and generation; None where a base model's size is unknown."""
    device: str
    assumptions: tuple[str, ...]
    train_gpu_hours: float | None = None
    """Of `gpu_hours`, those in training."""
    decide: Mapping[str, Mapping[str, float | None]] | None = None
    """Of a study that trains in rounds: "expected" and "worst", each with trainings, predictions, judge_calls, usd of
    the judge, and gpu_hours; the other figures are those of its whole grid."""
    exits: Mapping[str, Mapping[str, float | None]] | None = None
    """The same of a study whose losing trainings end: "least" and "worst", with trainings that go on to their end."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def plan(study: Study, speed: Rates | None = None) -> Estimate:
    """Expand and price a study, by the throughput table's default device unless `speed` says another.

    Raises:
        ConfigError: an unknown scorer or parameter, or a mixture that asks for more rows than are there.
    """
    scorer_specs(study)
    outlines = outline_datasets(study)
    cells = expand(study)
    _refuse_too_large(study, cells, outlines)
    names = _Names()
    trainings = _distinct_trainings(cells, names)
    tunings = distinct_tunings(cells)
    assumptions = [note for outline in outlines.values() for note in outline.assumptions]
    train_rows = train_tokens = 0
    rate = speed or rates()
    device_s = 0.0
    sizes = {base: parameters(base, study) for base in study.all_models}
    totals: dict[tuple[int, float, int | None], tuple[int, int]] = {}
    todo = [(cell.base_model, cell.mixture, cell.train) for cell in trainings.values() if cell.pairs is None]
    for cell in trainings.values():
        if cell.pairs is not None:
            tokens = pairs_tokens(study, cell.pairs, cell.train, cell.num_target, outlines)
            train_rows += cell.num_target
            train_tokens += tokens
            device_s += rate.train_s(tokens, sizes[cell.base_model] or math.nan)
    for base_model, mixture, recipe in (*tunings, *todo):
        named = id(mixture), recipe.num_epochs, recipe.max_steps  # cells share mixtures, and keep them
        if named not in totals:
            totals[named] = _mixture_tokens(mixture, outlines, recipe)
        rows, tokens = totals[named]
        train_rows += rows
        train_tokens += tokens
        device_s += rate.train_s(tokens, sizes[base_model] or math.nan)
    train_s = device_s
    predictions, generated = _generation(study, cells, outlines, names)
    for base, generated_tokens in generated.items():
        device_s += rate.generate_s(generated_tokens, sizes[base] or math.nan)
    judge_calls = predictions * calls_per_row(study_protocol(study)) if JUDGE in study.scorers else 0
    work = None
    if study.grid.preferences is not None:
        work = preference_work(study, study.grid.preferences, outlines)
        predictions += work.answers
        judge_calls += work.judged * calls_per_row(study_protocol(study))
        device_s += sum(rate.generate_s(work.tokens, sizes[base] or math.nan) for base in study.all_models)
        assumptions.append(work.note)
    if study.grid.ranking is not None:
        ranked = sum(_set_rows(part, outlines) for part in study.grid.evaluation_sets(study))
        judge_calls += ranked * study.grid.ranking.calls_per_prompt(len(study.grid.given))
    if study.ifs is not None:
        labels, written, note = _inside_trials(study, study.ifs, list(trainings.values()), outlines)
        judge_calls += labels
        for base, inside_tokens in written.items():
            device_s += rate.generate_s(inside_tokens, sizes[base] or math.nan)
        assumptions.append(note)
    usd, note = _judge_dollars(study, study.judge, judge_calls, outlines)
    assumptions.append(note)
    answers_usd, notes = _answers_cost(study, outlines)
    usd = None if usd is None or answers_usd is None else round(usd + answers_usd, 2)
    assumptions += notes
    if study.referee is not None and work is not None:
        judge_calls += work.refereed
        referee_usd, note = _judge_dollars(study, study.referee, work.refereed, outlines)
        usd = None if usd is None or referee_usd is None else round(usd + referee_usd, 2)
        assumptions.append(f"{work.refereed:,} calls of the referee, in judge calls and usd; {note}")
    writer_calls, writer_usd = _writer_cost(study, outlines)
    if writer_calls:
        usd = None if usd is None or writer_usd is None else round(usd + writer_usd, 2)
        cost = "an unknown price" if writer_usd is None else f"{writer_usd:,.2f} dollars, in usd"
        assumptions.append(f"{writer_calls:,} calls at least that write or tag rows: {cost}")
    decide = None
    unknown = sorted(base for base, size in sizes.items() if size is None)
    if (by := study.decided_by) is not None:
        spent = _decide_estimate(study, by, cells, outlines, names)
        assumptions.append(spent.note)
        decide = {}
        for name, part in (("expected", spent.expected), ("worst", spent.worst)):
            share = part.predictions / max(1, predictions)
            seconds = train_s * part.trainings / max(1, len(trainings)) + (device_s - train_s) * share
            decide[name] = _spend(study, outlines, part, round(judge_calls * share), None if unknown else seconds)
    exits = None
    if study.exits is not None:
        assumptions.append(EXITS_NOTE)
        ended = least_trained(
            study.exits,
            study.baseline,
            trainings,
            lambda cell: totals[id(cell.mixture), cell.train.num_epochs, cell.train.max_steps][0],
        )
        unspent, unasked = 0.0, 0
        for name, part_trained in ended.items():
            cell = trainings[name]
            tokens = totals[id(cell.mixture), cell.train.num_epochs, cell.train.max_steps][1]
            unspent += (1 - part_trained) * rate.train_s(tokens, sizes[cell.base_model] or math.nan)
            unasked += _answers(study, cell, outlines)
        exits = {}
        for name, gone, left_out, saved_s in (("least", len(ended), unasked, unspent), ("worst", 0, 0, 0.0)):
            part = Spend(len(trainings) - gone, predictions - left_out)
            share = part.predictions / max(1, predictions)
            seconds = train_s - saved_s + (device_s - train_s) * share
            exits[name] = _spend(study, outlines, part, round(judge_calls * share), None if unknown else seconds)
    if unknown:
        assumptions.append(f"gpu_hours unknown: no parameter count in the name of {', '.join(unknown)}")
    else:
        assumptions.append(rate.note)
    return Estimate(
        study=study.name,
        mode=study.mode,
        cells=len(cells),
        distinct_trainings=len(tunings) + len(trainings),
        cells_per_base=len(cells) // max(1, len(study.base_models)),
        trainings_per_base=(len(tunings) + len(trainings)) // max(1, len(study.base_models)),
        train_rows=train_rows,
        train_tokens=train_tokens,
        predictions=predictions,
        judge_calls=judge_calls,
        writer_calls=writer_calls,
        usd=usd,
        gpu_hours=None if unknown else round(device_s / 3600, 4),
        device=rate.device,
        assumptions=tuple(dict.fromkeys(assumptions)),
        train_gpu_hours=None if unknown else round(train_s / 3600, 4),
        decide=decide,
        exits=exits,
    )


def _spend(
    study: Study, outlines: Mapping[str, DatasetOutline], part: Spend, judge_calls: int, seconds: float | None
) -> dict[str, float | None]:
    """A part of a study in numbers; seconds of one device are None where a base's size is not known."""
    return {
        "trainings": round(part.trainings, 1),
        "predictions": round(part.predictions),
        "judge_calls": judge_calls,
        "usd": _judge_dollars(study, study.judge, judge_calls, outlines)[0],
        "gpu_hours": None if seconds is None else round(seconds / 3600, 4),
    }


def _answers(study: Study, cell: Cell, outlines: Mapping[str, DatasetOutline]) -> int:
    """Answers of a cell's model."""
    sets = {part.name: part for part in study.grid.evaluation_sets(study)}
    return sum(_set_rows(sets[name], outlines) for name in cell.evaluates if name in sets)


def _decide_estimate(
    study: Study, spec: DecideSpec, cells: Sequence[Cell], outlines: Mapping[str, DatasetOutline], names: _Names
) -> DecideEstimate:
    sets = {part.name: part for part in study.grid.evaluation_sets(study)}
    runs: dict[tuple[str, str], RunRow] = {}
    for cell in cells:
        trained = names.training(cell)
        at_zero = cell.num_target == 0
        for name in cell.evaluates:
            if name not in sets:
                continue
            run = RunRow(
                predictions_key=f"{trained} {name}",
                adapter_key=trained,
                mixture_key=str(names.known[id(cell.mixture)]),
                base_model=cell.listed_under or cell.base_model,
                trained_task="" if at_zero and not cell.owns_zero else cell.task,
                evaluation_set=name,
                num_target=cell.num_target,
                draw=-1 if at_zero else cell.draw,
                training_seed=cell.training_seed,
                arm=cell.arm,
                repeats=cell.repeats,
                is_trained=cell.is_trained,
            )
            runs.setdefault((trained, name), run)
    sizes = {name: _set_rows(part, outlines) for name, part in sets.items()}
    targets = {name: rows for name, rows in sizes.items() if sets[name].purpose == "target"}
    others = {name: rows for name, rows in sizes.items() if name not in targets}
    return decide_estimate(spec, list(runs.values()), targets, others)


def _set_rows(asked: AskedSet, outlines: Mapping[str, DatasetOutline]) -> int:
    there = outlines[asked.dataset].rows[asked.split]
    if asked.category:
        there = max(1, round(there * CATEGORY_SHARE))
    wanted = asked.per_category * len(INSTRUCTION_CATEGORIES) or asked.rows
    return there if wanted is None else min(there, wanted)


def _refuse_too_large(study: Study, cells: Sequence[Cell], outlines: Mapping[str, DatasetOutline]) -> None:
    """As drawing the rows would, where the rows have been counted."""
    mixtures = {id(mixture): mixture for cell in cells for mixture in _mixtures(cell)}
    for mixture in mixtures.values():
        for part in (*mixture.train, *mixture.validation):
            most = outlines[part.dataset].most.get(part.split)
            if most is not None and part.count is not None and part.count > most * part.max_repeats:
                raise ConfigError(
                    f"study {study.name!r}: asks for {part.count:,} {part.dataset!r} rows; expected at most {most:,}, "
                    f"what the {part.split} split holds; lower it or give the dataset more rows"
                )


def _mixtures(cell: Cell) -> tuple[MixtureSpec, ...]:
    return (cell.mixture,) if cell.start is None else (cell.mixture, cell.start.mixture)


def distinct_trainings(cells: list[Cell]) -> dict[str, Cell]:
    """One cell for each distinct (base model, mixture, recipe with its seed), by an identity of planning's own.

    Artifact keys need the data's content; here datasets count by name, which gives the same partition.
    """
    return _distinct_trainings(cells, _Names())


def _distinct_trainings(cells: list[Cell], names: _Names) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for cell in cells:
        for part in _rounds(cell) if cell.is_trained else ():
            found.setdefault(names.training(part), part)
    return found


def _rounds(cell: Cell) -> list[Cell]:
    """A cell for each training that it takes: expert iteration trains once a round."""
    if cell.pairs is None:
        return [cell]
    return [replace(cell, pairs=replace(cell.pairs, rounds=number)) for number in range(1, cell.pairs.rounds + 1)]


def distinct_tunings(cells: list[Cell]) -> list[tuple[str, MixtureSpec, TrainSpec]]:
    """The instruction tunings that cells start from: one for each base model."""
    found: dict[str, tuple[str, MixtureSpec, TrainSpec]] = {}
    for cell in cells:
        if cell.start is not None:
            found.setdefault(cell.base_model, (cell.base_model, cell.start.mixture, cell.start.train))
    return list(found.values())


@dataclass
class _Names:
    """Numbers for what the cells of a study train: equal ones have one, however often they were made."""

    recipes: dict[TrainSpec, int] = field(default_factory=dict)
    mixtures: dict[MixtureSpec, int] = field(default_factory=dict)
    known: dict[int, int] = field(default_factory=dict)
    """The same of mixtures by their place in memory: cells share them, and looking at one takes long."""

    def training(self, cell: Cell) -> str:
        """Names what a cell trains among the trainings of its study."""
        recipe = self.recipes.setdefault(cell.train, len(self.recipes))
        mixture = self.known.get(id(cell.mixture))
        if mixture is None:
            mixture = self.mixtures.setdefault(cell.mixture, len(self.mixtures))
            self.known[id(cell.mixture)] = mixture
        start = "" if cell.start is None else "stacked" if cell.start.is_stacked else "merged"
        pairs = "" if cell.pairs is None else f"{cell.pairs.name}/{cell.pairs.rounds}"
        return f"{cell.base_model}/{start}/{mixture}/{recipe}/{cell.stops}/{pairs}/{cell.given}"


def parameters(base: str, study: Study) -> float | None:
    """Parameters of a base model: of tiny ones by spec or file, else from a name such as `Qwen2.5-0.5B`."""
    if base in SHIPPED:
        return float(num_parameters(SHIPPED[base]))
    if base == TINY and study.tiny_base is not None:
        tiny = study.tiny_base
        per_layer = 4 * tiny.hidden_size**2 + 3 * tiny.hidden_size * tiny.feed_forward_size
        return float(tiny.num_layers * per_layer + tiny.vocabulary_size * tiny.hidden_size)
    match = re.search(r"(\d+(?:\.\d+)?)\s*([bBmM])(?![a-zA-Z])", base.rsplit("/", 1)[-1])
    if match is None:
        return None
    return float(match.group(1)) * (1e9 if match.group(2) in "bB" else 1e6)


def _mixture_tokens(mixture: MixtureSpec, outlines: Mapping[str, DatasetOutline], recipe: TrainSpec) -> tuple[int, int]:
    """Rows of the mixture, and tokens that its training passes through."""
    rows, chars = 0, 0.0
    weights = [_weight(part, mixture, outlines) for part in mixture.train]
    shares = largest_remainder([weight / (sum(weights) or 1.0) for weight in weights], mixture.total or 0)
    for component, share in zip(mixture.train, shares, strict=True):
        outline = outlines[component.dataset]
        count = component.count
        if component.weight is not None:
            count = round(share * CHARS_PER_TOKEN / outline.mean_chars) if mixture.share_of == "tokens" else share
        elif count is None:
            count = min(_there(component, outline), component.cap or 1 << 60)
        rows += count
        chars += count * outline.mean_chars
    if not rows:
        return 0, 0
    tokens_per_row = min(chars / rows / CHARS_PER_TOKEN, recipe.max_length)
    schedule = schedule_of(recipe, rows)
    return rows, round(min(schedule.total_steps * schedule.batch_size, rows * recipe.num_epochs) * tokens_per_row)


def _there(part: ComponentSpec, outline: DatasetOutline) -> int:
    """Rows of a component's split; of some categories as many as there would be if all were equally frequent."""
    count = outline.rows[part.split]
    return round(count * len(part.categories) * CATEGORY_SHARE) if part.categories else count


def _weight(part: ComponentSpec, mixture: MixtureSpec, outlines: Mapping[str, DatasetOutline]) -> float:
    """A component's weight, times the rows (or characters, which stand for tokens) it has where that is asked."""
    if part.weight is None or not mixture.is_natural:
        return part.weight or 0.0
    outline = outlines[part.dataset]
    there = max(1, _there(part, outline))
    return part.weight * there * (outline.mean_chars if mixture.share_of == "tokens" else 1.0)


def _generation(
    study: Study, cells: list[Cell], outlines: Mapping[str, DatasetOutline], names: _Names
) -> tuple[int, dict[str, float]]:
    """Predictions in all, and tokens read and written by each base model."""
    sets = {part.name: part for part in study.grid.evaluation_sets(study)}
    answering = {names.training(cell): cell for cell in cells}
    predictions = 0
    tokens = dict.fromkeys(study.all_models, 0.0)
    for cell in answering.values():
        for name in cell.evaluates:
            if name not in sets:
                continue
            asked, outline = sets[name], outlines[sets[name].dataset]
            count = _set_rows(asked, outlines)
            predictions += count
            if cell.base_model in tokens:  # not where a file or an endpoint answers
                tokens[cell.base_model] += count * (outline.mean_chars / CHARS_PER_TOKEN + asked.max_new_tokens / 2)
    return predictions, tokens


def _inside_trials(
    study: Study, spec: TrialIfsSpec, trainings: Sequence[Cell], outlines: Mapping[str, DatasetOutline]
) -> tuple[int, dict[str, float], str]:
    """ObjecQA labels, and tokens read and written by each base model, of the evaluations inside trials, and a note."""
    num_questions = 0 if spec.objecqa is None else len(preference_questions(spec.objecqa))
    tokens = dict.fromkeys(study.all_models, 0.0)
    total = 0
    for cell in trainings:
        rows, _ = _mixture_tokens(cell.mixture, outlines, cell.train)
        evaluations = 2 + schedule_of(cell.train, rows).total_steps // spec.every_steps
        read = (spec.num_prompts + num_questions) * PROMPT_TOKENS
        written = spec.num_prompts * spec.max_new_tokens + num_questions * spec.objecqa_max_new_tokens
        tokens[cell.base_model] += evaluations * (read + written)
        total += evaluations
    sample = len(labelled_answers()) if num_questions else 0
    note = (
        f"inside trials: {total:,} evaluations of {spec.num_prompts} prompts and {num_questions} preference questions, "
        "if no trial is stopped"
    )
    return total * num_questions + sample, tokens, note


def _answers_cost(study: Study, outlines: Mapping[str, DatasetOutline]) -> tuple[float | None, list[str]]:
    """Dollars, at most, of answers that endpoints give (None where a price is not known), and a note for each model."""
    usd: float | None = 0.0
    notes = []
    for name, model in find_endpoints(study.grid.given).items():
        price = price_of(model)
        calls, prompt_tokens, reply_tokens = 0, 0.0, 0
        for asked in study.grid.evaluation_sets(study):
            rows = _set_rows(asked, outlines)
            calls += rows
            prompt_tokens += rows * outlines[asked.dataset].mean_chars / CHARS_PER_TOKEN
            reply_tokens += rows * (model.max_reply_tokens or asked.max_new_tokens)
        cost = None if price is None else price.usd(round(prompt_tokens), reply_tokens)
        usd = None if usd is None or cost is None else usd + cost
        told = "an unknown price" if cost is None else f"{cost:,.2f} dollars at most, in usd"
        notes.append(f"{name}: {calls:,} answers are asked of {model.endpoint_name}, {told}")
    return usd, notes


def _writer_cost(study: Study, outlines: Mapping[str, DatasetOutline]) -> tuple[int, float | None]:
    """Calls that derived datasets take, and their dollars (None where the model's price is not known)."""
    calls, prompt_tokens, reply_tokens = 0, 0.0, 0.0
    for spec in study.used.derived.values():
        row_tokens = outlines[spec.of].mean_chars / CHARS_PER_TOKEN if spec.of in outlines else 0.0
        if isinstance(spec, SyntheticRows):
            count = -(-spec.rows // spec.per_call)
            shown, written = spec.shown, spec.per_call * row_tokens
        elif isinstance(spec, JudgeTags):
            rows = sum(outlines[spec.of].rows.values())
            count = rows if spec.judge_rows is None else min(rows, spec.judge_rows)
            shown, written = 1, TAG_REPLY_TOKENS
        else:
            continue
        calls += count
        prompt_tokens += count * (WRITER_PROMPT_TOKENS + shown * row_tokens)
        reply_tokens += count * written
    config = study.writer or study.judge
    if config.is_embedded or not calls:
        return calls, 0.0
    price = price_of(endpoint_of(config))
    return calls, None if price is None else price.usd(round(prompt_tokens), round(reply_tokens))


def _judge_dollars(
    study: Study, judge: JudgeConfig, calls: int, outlines: Mapping[str, DatasetOutline]
) -> tuple[float | None, str]:
    if judge.is_embedded or calls == 0:
        return 0.0, "usd: the embedded judge costs nothing" if calls else "usd: no judge is asked"
    price = price_of(endpoint_of(judge))
    if price is None:
        return None, f"usd unknown: no price for {judge.model!r} in the table of {table_date()}"
    read = [outlines[part.dataset] for part in study.grid.evaluation_sets(study) if part.purpose == "target"]
    chars = sum(outline.mean_chars for outline in read) / len(read)
    prompt = JUDGE_PROMPT_TOKENS + 1.5 * chars / CHARS_PER_TOKEN
    usd = calls * price.usd(round(prompt), JUDGE_REPLY_TOKENS)
    note = f"prices of {table_date()}, about {prompt:.0f} + {JUDGE_REPLY_TOKENS} tokens a call (assumed)"
    return round(usd, 2), f"usd: {judge.model} at {note}"
