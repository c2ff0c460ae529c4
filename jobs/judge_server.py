"""The local judge server as a job.

    ray job submit --working-dir . -- python jobs/judge_server.py --rubric --host ADDRESS

On several hosts it binds to the node's address and then needs a token in ASSAY_JUDGE_TOKEN.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "platform"))

from assay.judge_server.__main__ import main

if __name__ == "__main__":
    main()
