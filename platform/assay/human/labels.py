"""Human labels out and in: blind sheets for annotators, and what they gave back.

Out: distinct answers, each equally likely to be drawn, shuffled anew for every annotator, with neither model nor scores
beside them. In: ratings checked and matched by the sheet's own ids. Equal chances make the labelled rows a fair sample
of all rows, which prediction-powered inference rests on.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import ConfigError, DataError
from assay.fingerprint import delimited_hash
from assay.metaeval.statistics.annotators import annotator_agreement
from assay.metaeval.statistics.bootstrap import seeded
from assay.metaeval.statistics.estimate import FloatArray
from assay.scoring.scorers.human_labels import answer_key

KEY_FILE = "key.json"
SHEET = "annotator_{number}"
FORMATS = ("csv", "jsonl")
COLUMNS = ("label_id", "instruction", "input", "answer", "rating", "note")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula: such a text gets an apostrophe before it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an annotator is shown, and where it comes from, which he is not."""

    instruction: str
    input: str
    prediction: str
    source: str
    """Model, mixture or file; kept in the key file."""
    example_id: str

    @property
    def key(self) -> str:
        """Equal for equal answers, whoever wrote them."""
        return answer_key(self.instruction, self.input, self.prediction)


def export_sheets(
    answers: Sequence[Answer],
    out: Path,
    *,
    num_rows: int,
    num_annotators: int,
    scale: tuple[float, float],
    question: str,
    seed: int,
    file_format: str,
) -> list[Path]:
    """Write a sheet per annotator and the key file; returns the sheets.

    Raises:
        ConfigError: an unknown format, more rows than there are answers, or a folder that holds sheets already.
    """
    if file_format not in FORMATS:
        raise ConfigError(f"--format {file_format}: expected {' or '.join(FORMATS)}")
    distinct = {answer.key: answer for answer in answers}
    if num_rows > len(distinct):
        raise ConfigError(
            f"--rows {num_rows}: saw {len(distinct):,} distinct answers among {len(answers):,}; expected no more than "
            "those; ask for fewer"
        )
    if (out / KEY_FILE).exists():
        raise ConfigError(f"--out {out}: saw {KEY_FILE} of an earlier export; expected a new folder; name another one")
    keys = sorted(distinct)
    drawn = [keys[place] for place in seeded("labels", str(seed)).choice(len(keys), num_rows, replace=False)]
    ids = {key: delimited_hash(["label", str(seed), key])[:12] for key in drawn}
    out.mkdir(parents=True, exist_ok=True)
    sheets = []
    for number in range(1, num_annotators + 1):
        order = seeded("labels", str(seed), "annotator", str(number)).permutation(num_rows)
        rows = [_shown(distinct[drawn[place]], ids[drawn[place]]) for place in order]
        sheet = out / f"{SHEET.format(number=number)}.{file_format}"
        sheet.write_text(_sheet_text(rows, file_format), encoding="utf-8")
        sheets.append(sheet)
    sources: dict[str, list[dict[str, str]]] = {key: [] for key in drawn}
    for answer in answers:
        if answer.key in sources:
            sources[answer.key].append({"source": answer.source, "example_id": answer.example_id})
    key_file = {
        "scale": list(scale),
        "question": question,
        "seed": seed,
        "distinct_answers": len(distinct),
        "items": {ids[key]: {"answer_key": key, "from": sources[key]} for key in drawn},
    }
    (out / KEY_FILE).write_text(json.dumps(key_file, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return sheets


@dataclass(frozen=True)
class Labels:
    """What the annotators gave back. Axes: A annotators, N items."""

    annotators: tuple[str, ...]
    items: tuple[Mapping[str, Any], ...]
    scores: FloatArray
    """In 0..1, shape (A, N), NaN where an annotator left an item out."""

    def rows(self) -> list[dict[str, Any]]:
        """One row per item that anybody rated, as the scorer `human` reads it."""
        found = []
        for place, item in enumerate(self.items):
            ratings = self.scores[:, place]
            given = ratings[np.isfinite(ratings)]
            if given.size:
                by_name = {
                    name: None if np.isnan(value) else round(float(value), 6)
                    for name, value in zip(self.annotators, ratings, strict=True)
                }
                found.append(
                    {
                        "answer_key": item["answer_key"],
                        "human": round(float(given.mean()), 6),
                        "annotators": by_name,
                        "from": item["from"],
                    }
                )
        return found

    def report(self, seed_key: str) -> dict[str, Any]:
        """Coverage and agreement, ready for JSON."""
        rated = np.isfinite(self.scores)
        return {
            "items": len(self.items),
            "rated": int(rated.any(axis=0).sum()),
            "unrated": int((~rated.any(axis=0)).sum()),
            "annotators": {name: int(count) for name, count in zip(self.annotators, rated.sum(axis=1), strict=True)},
            "agreement": annotator_agreement(self.scores, self.annotators, seed_key=seed_key),
        }


def is_sheet(file: Path) -> bool:
    """Whether a file is an annotator's, by its name; what is made of the sheets may lie beside them."""
    return file.name.startswith(SHEET.format(number="")) and file.suffix.removeprefix(".") in FORMATS


def import_sheets(folder: Path) -> Labels:
    """Read the sheets of an export that annotators have filled in.

    Raises:
        DataError: no key file, no sheet, an unknown or repeated id, or a rating that is none; names file and row.
    """
    path = folder / KEY_FILE
    if not path.is_file():
        raise DataError(f"--dir {folder}: saw no {KEY_FILE}; expected the folder that `assay label export` wrote")
    try:
        key_file = json.loads(path.read_text(encoding="utf-8"))
        items, scale = key_file["items"], key_file["scale"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: saw no key file; expected what `assay label export` wrote") from None
    sheets = sorted(file for file in folder.iterdir() if is_sheet(file))
    if not sheets:
        raise DataError(
            f"--dir {folder}: saw no sheet; expected {SHEET.format(number=1)}.csv and so on; put them there"
        )
    places = {label_id: place for place, label_id in enumerate(items)}
    scores = np.full((len(sheets), len(places)), np.nan)
    for number, sheet in enumerate(sheets):
        for place, rating in _ratings(sheet, places, scale):
            scores[number, place] = (rating - scale[0]) / (scale[1] - scale[0])
    if not np.isfinite(scores).any():
        raise DataError(f"--dir {folder}: saw {len(sheets)} sheets without a rating; expected some; fill in `rating`")
    return Labels(tuple(sheet.stem for sheet in sheets), tuple(items.values()), scores)


def _ratings(sheet: Path, places: Mapping[str, int], scale: Sequence[float]) -> list[tuple[int, float]]:
    found: dict[int, float] = {}
    for number, row in enumerate(_sheet_rows(sheet), 1):
        label_id, told = str(row.get("label_id", "")).strip(), row.get("rating")
        where = f"{sheet}: row {number}"
        if label_id not in places:
            raise DataError(f"{where}: saw label_id {label_id!r}; expected one of the export; fix the row")
        if places[label_id] in found:
            raise DataError(f"{where}: saw label_id {label_id!r} a second time; expected each once; remove one")
        if told is None or not str(told).strip():
            continue
        try:
            rating = float(str(told).strip().replace(",", "."))
        except ValueError:
            rating = float("nan")
        if not scale[0] <= rating <= scale[1]:
            raise DataError(
                f"{where}: saw the rating {told!r}; expected a number from {scale[0]:g} to {scale[1]:g}, or nothing"
            )
        found[places[label_id]] = rating
    return list(found.items())


def _shown(answer: Answer, label_id: str) -> dict[str, str]:
    return {
        "label_id": label_id,
        "instruction": answer.instruction,
        "input": answer.input,
        "answer": answer.prediction,
        "rating": "",
        "note": "",
    }


def _sheet_text(rows: Sequence[Mapping[str, str]], file_format: str) -> str:
    if file_format == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"'{text}" if text.startswith(_FORMULA) else text for name, text in row.items()})
    return out.getvalue()


def _sheet_rows(sheet: Path) -> list[dict[str, Any]]:
    try:
        text = sheet.read_text(encoding="utf-8-sig")
        if sheet.suffix == ".csv":
            # spreadsheets of many countries write semicolons
            delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
            return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{sheet}: cannot be read ({reason}); expected the sheet as it was, with ratings") from None
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{sheet}: saw a line that is no object; expected the sheet as it was, with ratings")
    return rows
