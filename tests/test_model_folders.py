from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from assay.errors import InputError
from assay.model_folders import SHIPPED, find_model, local_model, num_parameters
from assay.store import Store

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "my-model"
    home.mkdir()
    (home / "config.json").write_text('{"model_type": "llama"}')
    (home / "tokenizer.json").write_text("{}")
    (home / "model.safetensors").write_bytes(b"weights")
    return home


def test_a_folder_is_named_by_its_content_and_not_by_its_place(folder: Path, tmp_path: Path) -> None:
    first = find_model(str(folder), "base model")
    assert (first.name, first.path) == ("my-model", str(folder))
    (folder / "README.md").write_text("says nothing about the model")
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    second = find_model(str(moved), "base model")
    assert second.key == first.key
    (moved / "model.safetensors").write_bytes(b"other weights")
    assert find_model(str(moved), "base model").key != first.key


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"saw no tokenizer; expected tokenizer\.json or .*; save") as caught:
        find_model(str(folder), "base model")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"saw only pytorch_model\.bin \(a pickle.*expected \*\.safetensors; .*convert it: python -c"
    ):
        find_model(str(folder), "base model")


def test_code_that_comes_with_the_weights_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "own_kind", "auto_map": {"AutoModel": "m.M"}}')
    with pytest.raises(InputError, match=r"auto_map.*'own_kind', which transformers does not have"):
        find_model(str(folder), "base model")


def test_a_model_whose_class_transformers_has_needs_no_code_of_its_own(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "falcon", "auto_map": {"AutoModel": "m.M"}}')
    assert find_model(str(folder), "base model").name == "my-model"


@pytest.mark.parametrize("name", ["/no/such/folder", "./neither", "not a model"])
def test_what_is_neither_folder_nor_hub_id_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="saw no such folder; expected a Hugging Face model folder or a hub id"):
        find_model(name, "base model")


def test_a_hub_model_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="'some-owner/some-model' at revision 'main': saw no copy on this machine"):
        find_model("some-owner/some-model", "base model")


def test_a_machine_without_the_folder_reads_the_stores_base(folder: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    with store.writing("base", "b" * 32, {}) as writer:
        writer.folder(folder)
    assert local_model(store, str(folder), "b" * 32) == str(folder)
    there = Path(local_model(store, "/on/the/head/only", "b" * 32))
    assert (there / "model.safetensors").read_bytes() == b"weights"


def test_a_model_that_a_study_trained_whole_is_read_out_of_the_store(folder: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    with store.writing("adapter", "whole") as artifact:
        artifact.folder(folder)
    assert local_model(store, "", "whole") == str(store.local_dir("adapter", "whole"))
    assert local_model(store, str(tmp_path / "elsewhere"), "whole") == str(store.local_dir("adapter", "whole"))


def test_parameters_are_counted_by_the_headers_of_all_weight_files(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()
    for number, shape in enumerate([(3, 5), (7,)]):
        tensor = np.zeros(shape, dtype=np.float32)
        (folder / f"model-{number}.safetensors").write_bytes(save({f"part {number}": tensor}, {"format": "pt"}))
    assert num_parameters(folder) == 22
    (folder / "model-1.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"model-1\.safetensors is no safetensors file"):
        num_parameters(folder)


def test_a_machine_that_has_a_model_nowhere_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no such folder on this machine, and none in .*use a hub id, or a folder that is mounted"
    ):
        local_model(Store(str(tmp_path / "store")), "/on/the/head/only", "b" * 32)


FIND = """
import sys
from assay.model_folders import find_model, local_model
from assay.store import Store
if len(sys.argv) == 1:
    found = find_model("owner/model", "base model")
    print(found.path, found.source)
else:
    print(local_model(Store(sys.argv[1]), sys.argv[2], "b" * 32, sys.argv[3]))
"""


def test_two_machines_with_caches_of_their_own_read_the_same_commit(folder: Path, tmp_path: Path) -> None:
    commits = ("a" * 40, "c" * 40)
    for home, main in (("head", commits[0]), ("node", commits[1])):  # the branch has moved on the node
        hub = tmp_path / home / "hub" / "models--owner--model"
        for commit in commits:
            shutil.copytree(folder, hub / "snapshots" / commit)
        (hub / "refs").mkdir()
        (hub / "refs" / "main").write_text(main)

    def on(home: str, *arguments: str) -> str:
        env = {**os.environ, "HF_HOME": str(tmp_path / home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)}
        env.pop("HF_HUB_CACHE", None)
        run = subprocess.run(
            [sys.executable, "-c", FIND, *arguments], env=env, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    path, source = on("head").split()
    assert source == f"owner/model@{commits[0]}"
    shutil.rmtree(tmp_path / "head")
    found = on("node", str(tmp_path / "store"), path, source)
    assert found == str(tmp_path / "node" / "hub" / "models--owner--model" / "snapshots" / commits[0])


TOY = SHIPPED["toy"]


def test_the_toy_base_is_found_by_its_name_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy").mkdir()  # a user's folder of this name is reached as ./toy
    monkeypatch.chdir(tmp_path)
    found = find_model("toy", "base model")
    assert (found.name, found.path, found.source) == ("toy", str(TOY), "toy")
    moved = shutil.copytree(TOY, tmp_path / "elsewhere")
    assert find_model(str(moved), "base model").key == found.key


def test_the_toy_base_is_small_and_in_the_wheel() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    package = ROOT / "platform" / "assay"
    patterns = config["tool"]["setuptools"]["package-data"]["assay"]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    files = set(TOY.iterdir())
    assert files
    assert files <= packed
    assert sum(path.stat().st_size for path in files) < 4e6


def test_another_machine_takes_the_toy_base_from_its_own_package(tmp_path: Path) -> None:
    found, store = find_model("toy", "base model"), Store(str(tmp_path))
    assert local_model(store, "/of/the/driver/toy", found.key, found.source) == str(TOY)
    with pytest.raises(InputError, match=r"saw other content in this machine's package; .*install the same version"):
        local_model(store, "/of/the/driver/toy", "0" * 32, found.source)


class SlowStore:
    """A remote store whose fetches take a while and are counted."""

    uri, is_local = "s3://somewhere", False

    def __init__(self, folder: Path) -> None:
        self.folder, self.fetched = folder, 0

    def exists(self, kind: str, key: str) -> bool:
        return True

    def local_dir(self, kind: str, key: str) -> Path:
        if not self.folder.is_dir():
            self.fetched += 1
            time.sleep(0.2)
            self.folder.mkdir()
        return self.folder


def test_workers_of_one_machine_fetch_a_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    store = SlowStore(tmp_path / "fetched")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: local_model(store, "/on/the/head/only", "b" * 32), range(4)))
    assert found == [str(tmp_path / "fetched")] * 4
    assert store.fetched == 1


TOKEN = "hf_canary0123456789"


def test_the_hubs_token_is_asked_for_only_to_download_and_is_in_no_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    asked: list[str | None] = []

    def download(hub_id: str, *, token: str | None, **_: object) -> str:
        asked.append(token)
        raise OSError(f"401 for https://user:{token}@hub/{hub_id}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    store = Store(str(tmp_path / "store"))
    assert local_model(store, str(folder), "", "owner/gated@" + "c" * 40, token=pytest.fail) == str(folder)
    with pytest.raises(InputError, match=r"reward model 'owner/gated' at revision 'c+'.*\(OSError\)") as caught:
        local_model(store, "/head", "", "owner/gated@" + "c" * 40, what="reward model", token=lambda: TOKEN)
    assert asked == [TOKEN]
    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__  # nor in what a traceback shows
