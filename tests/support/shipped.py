"""What ships, by the short names that tests call it by."""

from __future__ import annotations

from assay.scoring.judges.table import SHIPPED_PROTOCOLS
from assay.scoring.table import SHIPPED_SCORERS
from assay.tasks.catalog import SHIPPED_TASKS

get_task = SHIPPED_TASKS.get
make_scorer, scorer_spec = SHIPPED_SCORERS.make, SHIPPED_SCORERS.spec
make_protocol, make_pointwise = SHIPPED_PROTOCOLS.make, SHIPPED_PROTOCOLS.pointwise
make_pairwise, make_joint = SHIPPED_PROTOCOLS.pairwise, SHIPPED_PROTOCOLS.joint
protocol_names, protocol_kind = SHIPPED_PROTOCOLS.names, SHIPPED_PROTOCOLS.kind


def scorer_names() -> tuple[str, ...]:
    """Of all local scorers."""
    return SHIPPED_SCORERS.names


def task_names() -> tuple[str, ...]:
    """Of all tasks."""
    return SHIPPED_TASKS.names
