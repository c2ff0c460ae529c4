"""Cuts a folder of three JSONL files, each of another format, out of public data: what own_small.yaml is asked about.

    python jobs/cut_own_small.py PATH/TO/DATA my_data/

Expected below DATA: alpaca/alpaca_gpt4_10k.jsonl.gz, tasks/squadv2/train.jsonl.gz and tasks/scitldr/train.jsonl.gz.
Short rows alone, so that a tiny base reads them on two cores; the first ones, so that every cut is the same.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

ROWS = 1200
"""Of each file, at most."""
SHORT_ROW, SHORT_ABSTRACT = 180, 120
"""Characters."""
ARTICLES = ("Immune_system", "Yuan_dynasty", "Force")
ASKING = ("how many", "how", "what", "when", "where", "which", "who", "why")
"""What a question begins with or holds, longest first."""


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def chats(data: Path) -> Iterator[dict[str, str]]:
    """Alpaca rows: instruction, input, output."""
    for row in rows_of(data / "alpaca" / "alpaca_gpt4_10k.jsonl.gz"):
        kept = {name: row[name] for name in ("instruction", "input", "output")}
        if kept["output"] and sum(map(len, kept.values())) <= SHORT_ROW:
            yield kept


def questions(data: Path) -> Iterator[dict[str, str]]:
    """SQuAD rows: a question, the article that it is about, and both as JSON with what it asks."""
    for row in rows_of(data / "tasks" / "squadv2" / "train.jsonl.gz"):
        lower = row["question"].casefold()
        asks = next((word for word in ASKING if word in lower), None)
        if asks is not None and row["title"] in ARTICLES:
            article = row["title"].replace("_", " ")
            described = json.dumps({"asks": asks, "about": article})
            yield {"question": row["question"], "article": article, "described": described}


def papers(data: Path) -> Iterator[dict[str, list[dict[str, str]]]]:
    """SciTLDR rows as conversations: the beginning of an abstract, and what it says in a few words."""
    for row in rows_of(data / "tasks" / "scitldr" / "train.jsonl.gz"):
        abstract = row["input"].removeprefix("Article: ")[:SHORT_ABSTRACT]
        if len(row["output"]) <= SHORT_ROW:
            turns = (("user", f"Say in a few words: {abstract}"), ("assistant", row["output"]))
            yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def cut(data: Path, out: Path) -> None:
    """Write the three files."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("chat", chats(data)), ("squad", questions(data)), ("papers", papers(data))):
        lines = [json.dumps(row, ensure_ascii=False) for row in islice(rows, ROWS)]
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sys.stdout.write(f"{len(lines):,} rows in {out / name}.jsonl\n")


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(sys.argv[2]))
