"""Run a study in a job: `ray job submit --working-dir . -- python jobs/run_study.py STUDY --storage URI`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "platform"))  # the job's copy, before any installed one

from assay.cli import door

if __name__ == "__main__":
    door("run")
