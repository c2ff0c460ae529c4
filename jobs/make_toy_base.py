"""Make the model "toy" anew, which comes with the package.

    python jobs/make_toy_base.py [FOLDER]

Another kind of processor, or another number of threads than two, gives other weights: then the quickstart's keys
and figures change with them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "platform"))

from assay.commands.progress import console_progress
from assay.model_folders import SHIPPED

if __name__ == "__main__":
    from assay.training.tiny_base.shipped_engine import make_toy_base

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED["toy"]
    make_toy_base(folder, console_progress())
