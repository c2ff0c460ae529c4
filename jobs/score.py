"""Score a file of predictions in a job: the arguments are those of `assay score`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "platform"))

from assay.cli import door

if __name__ == "__main__":
    door("score")
