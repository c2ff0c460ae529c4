from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import InputError
from assay.model_folders import find_model


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
