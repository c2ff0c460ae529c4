"""Which fault befalls a request: drawn from (seed, request hash, replicate, attempt), never by arrival. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from assay.judge_server.config import FAULTS
from assay.judge_server.rubric.draws import Draws

WRONG_FORMAT = (
    "The evaluation is complete.",
    "Both have their merits, and a fair comparison takes more context than is given here.",
    "| criterion | remark |\n| --- | --- |\n| grammar | fine |\n| relevance | fine |",
    "Sure! Happy to evaluate. What would you like to know first?",
)
REFUSAL = "I'm sorry, but I can't assist with that request."


def draw_fault(faults: Mapping[str, float], draws: Draws) -> str:
    """Name of the fault, or "" for none."""
    if not faults:
        return ""
    place = draws.uniform("fault")
    for name in FAULTS:
        share = faults.get(name, 0.0)
        if place < share:
            return name
        place -= share
    return ""


def wrong_format(draws: Draws) -> str:
    """A reply that answers nothing."""
    return WRONG_FORMAT[int(draws.uniform("wrong format") * len(WRONG_FORMAT))]
