"""Adapters and bases from strangers: no engine reads a pickle or runs code that comes with weights."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from assay.adapter_files import check_adapter
from assay.errors import AssayError, DataError
from assay.model_folders import check_folder


class Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, (str(self.path), "w"))  # type: ignore[return-value]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(save({"w": np.zeros((2, 2), np.float32)}))
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}))
    return folder


def test_a_whole_adapter_passes(adapter: Path) -> None:
    assert check_adapter(adapter) == adapter


def test_a_pickle_in_place_of_safetensors_is_refused(adapter: Path, tmp_path: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "owned")))
    with pytest.raises(DataError, match="a pickle, which can run code"):
        check_adapter(adapter)
    assert not (tmp_path / "owned").exists()


def test_a_pickle_beside_safetensors_is_refused_too(adapter: Path) -> None:
    (adapter / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="a pickle"):
        check_adapter(adapter)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04.", (2**63).to_bytes(8, "little") + b"{}", (8).to_bytes(8, "little") + b"{", b"\0" * 64],
    ids=["empty", "pickle", "huge header", "cut short", "zeros"],
)
def test_what_only_bears_the_name_of_safetensors_is_refused(adapter: Path, data: bytes) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(DataError, match="no safetensors file"):
        check_adapter(adapter)


@pytest.mark.parametrize("config", ["[" * 10_000, "{", "[]", '{"peft_type": "PROMPT_TUNING"}', "{}"])
def test_another_kind_of_configuration_is_refused(adapter: Path, config: str) -> None:
    (adapter / "adapter_config.json").write_text(config)
    with pytest.raises(DataError, match=r"adapter_config\.json"):
        check_adapter(adapter)


@pytest.mark.parametrize("engine", ["hf_engine", "vllm_engine"])
def test_both_generation_engines_ask_before_they_load(engine: str) -> None:
    """The check stands before the call that loads; what it costs to start vLLM for this is spent in test_generation."""
    path = Path(__file__).parents[2] / "platform" / "assay" / "generation" / f"{engine}.py"
    source = path.read_text(encoding="utf-8")
    loads = min(source.index(call) for call in ("PeftModel.from_pretrained(", "add_lora(") if call in source)
    assert 0 < source.index("check_adapter(adapter.path)") < loads


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", '{"model_type": "x", "auto_map": {"AutoModelForCausalLM": "evil.Model"}}', "auto_map"),
        ("config.json", "[" * 10_000, "no JSON"),
        ("model.safetensors", None, "safetensors"),
    ],
    ids=["custom code", "deep JSON", "pickle alone"],
)
def test_a_hostile_base_is_refused(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "owned")))
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(AssayError, match=said):
        check_folder(tmp_path, "base model")
    assert not (tmp_path / "owned").exists()
