"""Pairs with a gold choice in the forms that they come in, and recorded verdicts on them.

Texts, gold and recorded verdicts are found by the names that public files use:

    texts       input | question | instruction | prompt;  output_1, output_2 | response_A, _B | answer_1, answer_2
    gold        label: 1, 2, 0 or "A>B", "B>A", "A=B";  or human_1 and human_2, whose higher one is better
    verdicts    reward_scores: {model: [first, second]};  completion (and completion_swapped): two scores, a letter or
                a label;  rows with `swap`: both orders in two rows;  `text`: a review that begins with two scores

Replies are parsed here, never taken from a field that says what somebody else read in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay.errors import ConfigError, DataError
from assay.judging.accuracy import Judged, PairItem, Verdict, Verdicts, run_report
from assay.judging.comparisons import PairsReport
from assay.judging.llmbar import PairSet
from assay.records import Mode
from assay.row_files import Row, expand, finite, join_key, read_rows, subset_names
from assay.scoring.judges.judgements import OK, UNPARSABLE, Winner
from assay.scoring.judges.parsing import parse_option, parse_pair, strict_choice
from assay.scoring.judges.parsing.thinking import read_spoken
from assay.scoring.judges.protocols.pairwise import map_back

Form = Literal["scores", "letter", "label"]
FORMS: tuple[Form, ...] = ("scores", "letter", "label")
RECORDED = "recorded"

_INPUTS = ("input", "question", "instruction", "prompt")
_OUTPUTS = (("output_1", "output_2"), ("response_A", "response_B"), ("answer_1", "answer_2"))
_GOLD = {"A>B": 1, "B>A": 2, "A=B": 0, "TIE": 0, "1": 1, "2": 2, "0": 0, "A": 1, "B": 2}
_SPLIT = ("set", "judge", "dimension", "prompt")
"""Columns by which a file falls into several runs, where they are names and not texts."""
_NO_KEY = {"completion", "completion_swapped", "swap", "choice", "scores", "scores_swapped", "text", "score",
           "prompt_tokens", "completion_tokens", "total_tokens"}  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """Verdicts of one judge on one set of pairs."""

    judge: str
    verdicts: tuple[Verdicts, ...]
    both_orders: bool
    """False: the pairs were judged in one order only, or each output was scored alone."""


@dataclass(frozen=True)
class PairFile:
    """One set of pairs with all that is recorded about it."""

    pairs: PairSet
    recorded: tuple[Recorded, ...]
    has_texts: bool


def read_pair_files(
    paths: Sequence[Path],
    *,
    replies: Path | None = None,
    on: Sequence[str] = (),
    form: Form | None = None,
    scale: tuple[float, float] = (0.0, 10.0),
    limit: int | None = None,
) -> list[PairFile]:
    """The pairs of all files.

    Args:
        paths: files or folders of them.
        replies: recorded replies in a file of their own, joined to the rows.
        on: fields that a row and its reply share.
        form: what a reply holds; None takes the form in which most replies can be read.
        scale: of two scores in one reply. Wider than the 1 to 10 that most prompts ask for: a judge that gives 0 and
            9 has chosen all the same.
        limit: at most so many pairs of each set.

    Raises:
        DataError: a file is missing, or a row is no pair in any of the known forms.
        ConfigError: replies without fields to join on.
    """
    files = expand(paths)
    if replies is not None and not on:
        raise ConfigError("--replies: saw no --on; expected the fields that a pair and its reply share")
    by_key = None if replies is None else _by_key(read_rows(replies), on, replies)
    found = []
    for name, file in zip(subset_names(files), files, strict=True):
        rows = read_rows(file)
        if by_key is not None and replies is not None:
            rows = _joined(rows, by_key, on, file, replies)
        for label, part in _split(rows):
            found.append(_pair_file(" ".join(filter(None, (name, label))), part, file, form, scale, limit))
    return found


def recorded_report(files: Sequence[PairFile], mode: Mode) -> PairsReport:
    """Runs over all recorded verdicts; without gold there is no accuracy.

    Raises:
        DataError: nothing is recorded in any of the files.
    """
    runs = []
    for file in files:
        for recorded in file.recorded:
            run = Judged(file.pairs.name, recorded.judge, RECORDED, mode, file.pairs.items, recorded.verdicts)
            report = run_report(run)
            runs.append(report if recorded.both_orders else report.in_one_order())
    if not runs:
        raise DataError(
            "--data: saw no recorded verdict; expected reward_scores, completion or text in the rows, or --replies; "
            "or name a --judge to ask"
        )
    return PairsReport(tuple(runs))


def _pair_file(
    name: str, rows: Sequence[Row], path: Path, form: Form | None, scale: tuple[float, float], limit: int | None
) -> PairFile:
    by_pair = _by_pair(rows)[:limit]
    items = tuple(_item(pair[0], f"{path}: {name}, pair {number}") for number, pair in enumerate(by_pair))
    if not any(item.gold is not None for item in items) and not any(_reply_fields(row) for row in rows):
        raise DataError(
            f"{path}: saw neither a gold choice nor a recorded verdict in fields {', '.join(map(str, rows[0]))}; "
            "expected label, human_1 and human_2, reward_scores or completion; rename the fields"
        )
    recorded = [*_reward_verdicts(by_pair), *_reply_verdicts(by_pair, form, scale)]
    return PairFile(PairSet(name, items), tuple(recorded), all(item.output_1 and item.output_2 for item in items))


def _split(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    columns = []
    for column in _SPLIT:
        values = {str(row.get(column)) for row in rows}
        if all(column in row for row in rows) and len(values) <= 50 and max(map(len, values)) <= 40:
            columns.append(column)
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(str(row[column]) for column in columns), []).append(row)
    if len(parts) == 1:
        return [("", list(rows))]
    return [(" ".join(key), part) for key, part in parts.items()]


def _by_pair(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one pair together: the two orders of files that give each a row, the unswapped one first."""
    if not all(isinstance(row.get("swap"), bool) for row in rows):
        return [[row] for row in rows]
    pairs: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = tuple(f"{field}={value}" for field, value in sorted(row.items()) if field not in _NO_KEY)
        pairs.setdefault(key, []).append(row)
    return [sorted(pair, key=lambda row: bool(row["swap"])) for pair in pairs.values()]


def _item(row: Row, where: str) -> PairItem:
    question = next((str(row[name]) for name in _INPUTS if isinstance(row.get(name), str)), "")
    outputs = next(
        (
            (str(row[a]), str(row[b]))
            for a, b in _OUTPUTS
            if isinstance(row.get(a), str) and isinstance(row.get(b), str)
        ),
        ("", ""),
    )
    return PairItem(question, *outputs, _gold(row, where))


def _gold(row: Row, where: str) -> Verdict:
    if row.get("label") is not None:
        label = str(row["label"]).strip().upper()
        if label not in _GOLD:
            raise DataError(f'{where}: saw label {row["label"]!r}; expected 1, 2, 0 (tie), "A>B", "B>A" or "A=B"')
        return _GOLD[label]
    first, second = finite(row.get("human_1")), finite(row.get("human_2"))
    if first != first or second != second:
        return None
    return _higher(first, second)


def _higher(first: float, second: float) -> Winner:
    return 0 if first == second else 1 if first > second else 2


def _reward_verdicts(pairs: Sequence[Sequence[Row]]) -> list[Recorded]:
    names = sorted({name for pair in pairs for name in _rewards(pair[0])})
    found = []
    for name in names:
        verdicts = []
        for pair in pairs:
            value = _rewards(pair[0]).get(name)
            scores = [finite(score) for score in value] if isinstance(value, list) and len(value) == 2 else []
            if scores and all(score == score for score in scores):
                winner = _higher(*scores)
                verdicts.append(Verdicts(winner, winner, "rating"))
            else:
                verdicts.append(Verdicts(None, None, "rating", ("error: no score", "error: no score")))
        found.append(Recorded(name, tuple(verdicts), both_orders=False))
    return found


def _rewards(row: Row) -> Mapping[str, Any]:
    value = row.get("reward_scores")
    return value if isinstance(value, Mapping) else {}


def _reply_verdicts(pairs: Sequence[Sequence[Row]], form: Form | None, scale: tuple[float, float]) -> list[Recorded]:
    replies = [_orders(pair) for pair in pairs]
    texts = [text for pair in replies for text in pair if text is not None]
    if not texts:
        return []
    readers = _readers(scale)

    def num_read(name: Form) -> int:
        return sum(read_spoken(text, readers[name]) is not None for text in texts)

    chosen: Form = form if form is not None else max(FORMS, key=num_read)

    def read(text: str) -> Winner | None:
        return read_spoken(text, readers[chosen])

    both_orders = any(swapped is not None for _, swapped in replies)
    verdicts = []
    for original, swapped in replies:
        first = None if original is None else read(original)
        second = None if swapped is None else map_back(read(swapped), "swapped")
        if not both_orders:
            second, swapped = first, original
        statuses = tuple(
            OK if winner is not None else UNPARSABLE if text is not None else "error: no reply"
            for winner, text in ((first, original), (second, swapped))
        )
        verdicts.append(Verdicts(first, second, "label" if both_orders else "rating", (statuses[0], statuses[1])))
    named = Counter(str(row["judge"]) for pair in pairs for row in pair if "judge" in row)
    judge = named.most_common(1)[0][0] if named else RECORDED
    return [Recorded(judge, tuple(verdicts), both_orders)]


def _readers(scale: tuple[float, float]) -> dict[Form, Callable[[str], Winner | None]]:
    letters: dict[str, Winner] = {"A": 1, "B": 2, "C": 0}

    def scores(text: str) -> Winner | None:
        # reviews begin with their two scores, and what follows may hold other numbers
        first_line = parse_pair(text.strip().split("\n")[0], *scale, comma_separates=True)
        pair = first_line or parse_pair(text, *scale, comma_separates=True)
        return None if pair is None else _higher(*pair)

    def letter(text: str) -> Winner | None:
        return letters.get(parse_option(text, "ABC") or "")

    return {"scores": scores, "letter": letter, "label": strict_choice}


def _orders(pair: Sequence[Row]) -> tuple[str | None, str | None]:
    """Replies in the original and the swapped order."""
    if isinstance(pair[0].get("swap"), bool):
        by_order = {bool(row["swap"]): _field_text(row, "completion") for row in pair}
        return by_order.get(False), by_order.get(True)
    row = pair[0]
    original = _field_text(row, "completion")
    return (_field_text(row, "text") if original is None else original), _field_text(row, "completion_swapped")


def _field_text(row: Row, field: str) -> str | None:
    return row[field] if isinstance(row.get(field), str) else None


def _reply_fields(row: Row) -> bool:
    return bool(_rewards(row)) or any(_field_text(row, field) is not None for field in ("completion", "text"))


def _by_key(replies: Sequence[Row], on: Sequence[str], path: Path) -> dict[tuple[str, ...], Row]:
    by_key: dict[tuple[str, ...], Row] = {}
    for number, reply in enumerate(replies):
        key = join_key(reply, on, f"{path}: row {number}")
        if key in by_key:
            raise DataError(f"{path}: row {number}: saw {', '.join(on)} = {', '.join(key)} a second time; add to --on")
        by_key[key] = reply
    return by_key


def _joined(
    rows: Sequence[Row], by_key: Mapping[tuple[str, ...], Row], on: Sequence[str], data: Path, path: Path
) -> list[Row]:
    joined = []
    for number, row in enumerate(rows):
        reply = by_key.get(join_key(row, on, f"{data}: row {number}"), {})
        joined.append({**{k: v for k, v in reply.items() if k not in ("label", "human")}, **row})
    if not any(_reply_fields(row) for row in joined):
        raise DataError(f"--on {','.join(on)}: saw no row of {data} with a reply in {path}; check the fields")
    return joined
