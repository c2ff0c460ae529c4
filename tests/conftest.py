"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("assay", deadline=None, max_examples=50)  # a loaded machine is slow, not wrong
settings.load_profile("assay")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # loopback clusters of the tests

ROOT = Path(__file__).resolve().parent.parent
ENGINE_FILES = frozenset({"test_joining.py", "test_ray_signals.py"})
LIGHT_FILES = frozenset(
    f"test_{name}.py"
    for name in (
        *("batch_api", "foreign_servers", "gateway", "judge_metaeval", "judge_server", "judge_silence"),
        *("judgement_accounting", "ledger_postgres", "structured_output"),
    )
)
"""Of the integration tests, files that start neither Ray nor DeepSpeed nor vLLM."""


class EnginesInOneWorker(LoadScopeScheduling):  # type: ignore[misc]
    """Shares tests among workers (`-n 2`): those on engines go to one, chaos tests to one, other files whole to any.

    Engines take whole cores, and the tests on them share a finished study; chaos tests wait as long as they work.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.split("::", 1)[0])
        if file.parts[1] == "chaos":
            return "chaos"
        on_engines = (file.parts[1] == "integration" and file.name not in LIGHT_FILES) or file.name in ENGINE_FILES
        return "engines" if on_engines else str(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> EnginesInOneWorker:
    """What `-n` shares tests by."""
    config.option.loadscopereorder = False  # as collected: chaos and engines come early, and take longest
    return EnginesInOneWorker(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; tests that need it are skipped, saying so, where it is not."""
    folder = Path(os.environ.get("ASSAY_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set ASSAY_SHARED)")
    return folder
