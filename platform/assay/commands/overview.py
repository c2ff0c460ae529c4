"""What `assay --help` shows: the commands under headings, in the order of a study's life, each in a whole sentence."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start here": ("demo", "init", "doctor"),
    "Studies": ("plan", "run", "status", "report", "compare", "generate", "export", "mixtures", "track", "gc"),
    "Decide with less": ("decide", "exits", "predict", "proxy", "search"),
    "Scorers and judges": (
        "score",
        "metaeval",
        "rank",
        "label",
        "audit-judge",
        "instrument",
        "judge-server",
        "ledger",
    ),
    "Data": ("data", "tag", "synthesize"),
}
"""Every command under one heading."""


class Overview(TyperGroup):
    """The root command: its help in sections, where a plain list would cut each sentence at the edge of the line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each heading."""
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, _sentence(self.commands[name].help or "")) for name in names])


def _sentence(said: str) -> str:
    """What a command's help says first, without what explains it further."""
    first_paragraph = " ".join(said.split("\n\n")[0].split())
    return first_paragraph.split(". ")[0].split(";")[0].rstrip(".")
