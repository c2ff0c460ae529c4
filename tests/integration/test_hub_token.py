"""The hub's token on a cluster's nodes: workers get it when they download, and nothing of Ray's keeps it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.secrets_in_files import files_with

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own
TESTS = Path(__file__).resolve().parent.parent
TOKEN = "hf_canary0123456789"


@pytest.fixture
def local_ray(tmp_path: Path) -> Iterator[Path]:
    """Ray whose workers have no token of their own; its session folder."""
    import ray

    paths = os.pathsep.join([str(TESTS.parent / "platform"), str(TESTS)])
    variables = {"PYTHONPATH": paths, "HF_HOME": str(tmp_path / "node"), "HF_TOKEN": "", "ASSAY_CACHE": str(tmp_path)}
    # Ray's sockets need a short path
    context = ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000,
        runtime_env={"env_vars": variables},
    )  # fmt: skip
    yield Path(context.address_info["session_dir"])
    ray.shutdown()


def test_a_nodes_download_has_the_drivers_token_which_is_in_no_file_of_ray(
    local_ray: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from assay.cluster import ray_models

    @ray.remote
    def fetch(root: str) -> tuple[list[str | None], str]:
        import huggingface_hub

        from assay.cluster.ray_models import model_here
        from assay.errors import InputError
        from assay.store import Store

        asked: list[str | None] = []

        def download(*_: object, token: str | None, **__: object) -> str:
            asked.append(token)
            raise OSError(f"401 for {token}")

        huggingface_hub.snapshot_download = download
        try:
            return asked, model_here(Store(root), "/head/only", "", "owner/gated@" + "c" * 40)
        except InputError as error:
            return asked, str(error)

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert ray.get(fetch.remote(str(tmp_path / "store")))[0] == [None]  # one machine: nothing is lent
    monkeypatch.setattr(ray_models, "several_machines", lambda: True)
    with ray_models.hub_token_for_nodes():
        asked, said = ray.get(fetch.remote(str(tmp_path / "store")))
    assert asked == [TOKEN]
    assert said.startswith("base model 'owner/gated'") and TOKEN not in said
    assert ray.get(fetch.remote(str(tmp_path / "store")))[0] == [None]  # it ends with the study
    ray.shutdown()
    assert list(files_with([TOKEN], local_ray)) == []
