"""Environment that Ray reads when it is imported; called by the doors before anything imports it. Imports no Ray."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path


def in_ray_job() -> bool:
    """Whether this process was started by `ray job submit`."""
    return "RAY_JOB_ID" in os.environ or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def prepare_ray_environment() -> None:
    """Quiet Ray, and give a private cluster a token of its own.

    Left to itself Ray writes a token to the home folder at the first local start, and a plain `ray start` with
    `ray job submit` then fails for want of it. A process that already imported Ray, or runs inside a job, or was told
    how to authenticate, is left as it is.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # else a thread that outlives Ray starts another one
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: Tune would go on for a while
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else the driver prints notes of Ray's own about actors
    if "ray" in sys.modules or in_ray_job() or "RAY_AUTH_MODE" in os.environ or "RAY_ADDRESS" in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="assay-ray-token-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
