"""Reads recorded exchanges, and recovers the texts of their instances from the prompts themselves.

A row holds judge, strategy, subset, index, stage, swap, template, model, messages, completion and finish_reason. An
instance's instruction and outputs are not in it as such. Where both orders of a pair were recorded they follow
exactly, since the two prompts differ in nothing but the order; else the prompt's headings tell.
"""

from __future__ import annotations

import json
import lzma
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import ConfigError, DataError
from assay.judge_server.replay.instances import Instance
from assay.row_files import open_text

MAX_LINE_CHARS = 4_000_000
MAX_FILE_CHARS = 200_000_000
"""Of a dataset, decompressed."""
DATASET_SUFFIXES = tuple(f"{kind}{packed}" for kind in (".json", ".jsonl") for packed in ("", ".gz", ".xz"))

_HEAD_I = re.compile(r"^#+ *Instruction *:?[ \t]*\n", re.MULTILINE)
_HEAD_A = re.compile(r"\n+^#+ *Output \(a\) *:?[ \t]*\n", re.MULTILINE)
_HEAD_B = re.compile(r"\n+^#+ *Output \(b\) *:?[ \t]*\n", re.MULTILINE)
_HEAD_ALONE = re.compile(r"\n+^#+ *Output *:?[ \t]*\n", re.MULTILINE)
_TAIL = re.compile(
    r"\n+^#+ *(?:Which is better|Decision\b|Questions about|(?:A )?[Rr]eference [Oo]utput|Debate between|Score of|"
    r"Requirements for|Explanations?\b|Evaluations?\b|Discussion\b|Now\b)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One recorded call."""

    judge: str
    strategy: str
    subset: str
    index: int
    stage: str
    swap: bool | None
    """Whether output_2 was shown first; None where the call has no order."""
    template: str
    model: str
    messages: tuple[tuple[str, str], ...]
    completion: str
    finish_reason: str

    @property
    def text(self) -> str:
        """The last user message: earlier turns are worked examples."""
        return next((content for role, content in reversed(self.messages) if role == "user"), "")

    @property
    def alone(self) -> str | None:
        """The one output that a rating call shows; None where there are two or none."""
        found = _alone(self)
        return found[1] if found else None


def read_exchanges(path: Path) -> Iterator[RecordedCall]:
    """The rows of a .jsonl, .jsonl.gz or .jsonl.xz file.

    Raises:
        DataError: a line is no exchange; names the file and the line.
    """
    try:
        with open_text(path) as file:
            # bounded, so that a small .gz cannot unfold into a line that fills the memory
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_CHARS + 1), ""), 1):
                if line.strip():
                    yield _exchange(path, number, line)
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected JSON lines, plain, .gz or .xz") from None


def dataset_files(paths: Sequence[Path]) -> list[Path]:
    """The files: a folder stands for those directly in it, else for the `dataset.json` files below it.

    Raises:
        ConfigError: a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(file for file in path.iterdir() if file.name.endswith(DATASET_SUFFIXES))
        inside = inside or sorted(file for file in path.rglob("dataset.json*") if file.name.endswith(DATASET_SUFFIXES))
        if not inside:
            raise ConfigError(f"--data {path}: saw no .json or .jsonl file; expected datasets; check the path")
        files += inside
    return files


def read_datasets(paths: Sequence[Path]) -> list[tuple[str, int, tuple[str, str, str]]]:
    """(subset, index, (input, output_1, output_2)) of LLMBar-format datasets.

    The subset is the file's first name, or its folder's where the file is called `dataset`.

    Raises:
        DataError: a file is no list of such objects.
    """
    found = []
    for path in paths:
        try:
            with open_text(path) as file:
                text = file.read(MAX_FILE_CHARS + 1)
            if len(text) > MAX_FILE_CHARS:
                raise ValueError(f"more than {MAX_FILE_CHARS:,} characters")
            rows = json.loads(text) if text.lstrip()[:1] == "[" else [json.loads(line) for line in text.splitlines()]
            texts = [(row["input"], row["output_1"], row["output_2"]) for row in rows]
        except (OSError, EOFError, ValueError, RecursionError, KeyError, TypeError, lzma.LZMAError) as error:
            raise DataError(f"{path}: cannot be read as a dataset of input, output_1, output_2 ({error!r})") from None
        name = path.name.split(".")[0]
        subset = name if name != "dataset" else path.resolve().parent.name
        found += [(subset, index, triple) for index, triple in enumerate(texts)]
    return found


def instances_of(
    rows: Iterable[RecordedCall], datasets: Iterable[tuple[str, int, tuple[str, str, str]]] = ()
) -> dict[tuple[str, int], Instance]:
    """The instance of each (subset, index) whose texts a dataset gives or the exchanges tell."""
    known = {
        (subset, index): Instance(subset, index, texts[0], (texts[1], texts[2])) for subset, index, texts in datasets
    }
    groups: defaultdict[tuple[str, int], list[RecordedCall]] = defaultdict(list)
    for row in rows:
        groups[(row.subset, row.index)].append(row)
    for place, group in groups.items():
        if place not in known and (found := _recover(group)) is not None:
            known[place] = Instance(*place, *found)
    return known


def _recover(group: Sequence[RecordedCall]) -> tuple[str, tuple[str, ...]] | None:
    """(instruction, outputs) out of an instance's rows; outputs 1 and 2 in this order where the rows tell."""
    orders: defaultdict[tuple[str, str, str], dict[bool, str]] = defaultdict(dict)
    for row in group:
        if row.swap is not None and not row.stage.startswith("synth"):
            orders[(row.judge, row.strategy, row.stage)][row.swap] = row.text
    for pair in orders.values():
        if len(pair) == 2 and (solved := _solve(pair[False], pair[True])):
            return solved
    for row in group:
        if row.swap is not None and (parted := _parted(row.text)):
            instruction, first, second = parted
            return instruction, ((second, first) if row.swap else (first, second))
    alone = [found for row in group if (found := _alone(row))]
    if alone:
        return alone[0][0], tuple(dict.fromkeys(output for _, output in alone))
    for row in group:
        if row.stage.startswith("aux"):
            start, end = _HEAD_I.search(row.text), _TAIL.search(row.text)
            if start is None:
                return row.text, ()  # the bare instruction: the judge is to answer it itself
            return row.text[start.end() : end.start() if end else len(row.text)], ()
    return None


def _solve(plain: str, swapped: str) -> tuple[str, tuple[str, str]] | None:
    """(instruction, outputs) of a prompt in both orders: the split under which they differ in the order alone."""
    for head_a in _HEAD_A.finditer(plain):
        start = head_a.end()
        if plain[:start] != swapped[:start]:
            break
        for head_b in _HEAD_B.finditer(plain, start - 1):
            first, rest = plain[start : head_b.start()], plain[head_b.end() :]
            for other_b in _HEAD_B.finditer(swapped, start - 1):
                second, other_rest = swapped[start : other_b.start()], swapped[other_b.end() :]
                if (
                    rest.startswith(second)
                    and other_rest.startswith(first)
                    and rest[len(second) :] == other_rest[len(first) :]
                ):
                    return _instruction(plain[: head_a.start()]), (first, second)
    return None


def _parted(text: str) -> tuple[str, str, str] | None:
    head_a = _HEAD_A.search(text)
    head_b = _HEAD_B.search(text, head_a.end() - 1) if head_a else None
    if head_a is None or head_b is None:
        return None
    tail = _TAIL.search(text, head_b.end() - 1)
    end = tail.start() if tail else len(text)
    return _instruction(text[: head_a.start()]), text[head_a.end() : head_b.start()], text[head_b.end() : end]


def _alone(row: RecordedCall) -> tuple[str, str] | None:
    """(instruction, output) of a prompt that shows one output; None where it shows two or none."""
    text, is_rating = row.text, row.template.startswith("rating")
    head = _HEAD_ALONE.search(text)
    if head is None or (row.template and not is_rating) or (_HEAD_A.search(text) and not is_rating):
        return None
    tail = _TAIL.search(text, head.end() - 1)
    return _instruction(text[: head.start()]), text[head.end() : tail.start() if tail else len(text)]


def _instruction(head: str) -> str:
    found = _HEAD_I.search(head)
    return head[found.end() :] if found else head.rsplit("\n\n", 1)[-1]


def _exchange(path: Path, number: int, line: str) -> RecordedCall:
    try:
        if len(line) > MAX_LINE_CHARS:
            raise ValueError(f"a line of {len(line)} characters")
        row: dict[str, Any] = json.loads(line)
        messages = tuple((str(message["role"]), str(message["content"])) for message in row["messages"])
        swap = row.get("swap")
        return RecordedCall(
            judge=str(row["judge"]),
            strategy=str(row["strategy"]),
            subset=str(row.get("subset", "")),
            index=int(row["index"]),
            stage=str(row.get("stage") or "compare"),
            swap=None if swap is None else bool(swap),
            template=str(row.get("template") or ""),
            model=str(row.get("model") or row["judge"]),
            messages=messages,
            completion=str(row["completion"] if row["completion"] is not None else ""),
            finish_reason=str(row.get("finish_reason") or "stop"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}:{number}: saw no exchange ({error!r}); expected an object with judge, strategy, index, stage, "
            "messages and completion; fix or drop the line"
        ) from None
