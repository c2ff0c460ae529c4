"""From a study to its cells: base model x condition x training seed, a pure expansion that touches nothing.

Cells are what the user asked for; trainings are what identity leaves of them. In strict mode the N = 0 cells of
all tasks and draws name one mixture, so IFTEval's S1 is 7 x 7 x 4 trainings and those of N = 0: found by comparing
mixtures, not by treating zero apart.
"""

from __future__ import annotations

from dataclasses import replace

from assay.studies.designs.cell import STOPPED, Cell
from assay.studies.spec import Study


def expand(study: Study) -> list[Cell]:
    """All cells of a study in the order of its design; in a study of IFS each in full, and ended by the rule."""
    cells = list(study.grid.cells(study))
    if study.ifs is None:
        return cells
    return [variant for cell in cells for variant in (replace(cell, stops=False), _stopped(cell))]


def _stopped(cell: Cell) -> Cell:
    return replace(cell, stops=True, series=f"{cell.series} {STOPPED}".strip())
