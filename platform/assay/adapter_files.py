"""What a LoRA adapter's folder may hold: safetensors weights and a JSON configuration, nothing that can run code.

PEFT and vLLM fall back to `adapter_model.bin`, a pickle, where there is no safetensors file; every engine asks here
first, so that the fallback is never reached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import DataError, InputError
from assay.file_hashes import known_file_hash
from assay.fingerprint import artifact_key

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
MAX_CONFIG_BYTES = 1 << 20
MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file, as its format says."""


@dataclass(frozen=True, slots=True)
class FoundAdapter:
    """A LoRA adapter that somebody trained, by its content."""

    key: str
    path: str
    rank: int


def find_adapter(folder: Path) -> FoundAdapter:
    """A given adapter's folder; `key` is 32 hex digits over its configuration and weights.

    Raises:
        InputError: no LoRA adapter lies there.
        DataError: one lies there that cannot be read safely.
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    try:
        rank = adapter_rank(json.loads(config.read_text(encoding="utf-8")))
        content = {"config": known_file_hash(config), "weights": known_file_hash(weights)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"adapter {folder}: saw no LoRA adapter ({type(error).__name__}); expected {CONFIG} with r and "
            f"{WEIGHTS}; check the path"
        ) from None
    check_adapter(folder)
    return FoundAdapter(artifact_key("adapter-folder", 1, {}, content), str(folder.resolve()), rank)


def check_adapter(folder: Path | str) -> Path:
    """The folder, if it is a LoRA adapter that can be read safely.

    Raises:
        DataError: it holds a pickle or no safetensors weights, or its configuration is of another kind.
    """
    folder = Path(folder)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    unsafe = sorted(name for name in names if name.endswith(UNSAFE_SUFFIXES))
    if unsafe:
        raise DataError(
            f"adapter {folder.name}: saw {unsafe[0]} (a pickle, which can run code); expected {WEIGHTS}; save it again "
            "with save_pretrained(folder)"
        )
    if not {WEIGHTS, CONFIG} <= names:
        raise DataError(f"adapter {folder.name}: saw no {WEIGHTS} with {CONFIG}; expected both; train it again")
    _check_weights(folder)
    _check_config(folder)
    return folder


def adapter_rank(config: Mapping[str, Any]) -> int:
    """The largest rank of an adapter's layers: an engine must have room for it.

    Args:
        config: of its CONFIG file.

    Raises:
        KeyError, TypeError, ValueError: it is no LoRA configuration.
    """
    pattern = config.get("rank_pattern") or {}
    return max(int(config["r"]), *map(int, pattern.values()), 0)


def _check_weights(folder: Path) -> None:
    """The file begins as safetensors does: 8 bytes of length, then a JSON header."""
    with (folder / WEIGHTS).open("rb") as file:
        length, first = int.from_bytes(file.read(8), "little"), file.read(1)
    size = (folder / WEIGHTS).stat().st_size
    if first != b"{" or not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        raise DataError(
            f"adapter {folder.name}: saw a {WEIGHTS} of {size} bytes that is no safetensors file; expected one; train "
            "it again"
        )


def _check_config(folder: Path) -> None:
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise DataError(f"adapter {folder.name}: {CONFIG} cannot be read ({reason}); train it again") from None
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise DataError(f"adapter {folder.name}: saw peft_type {kind!r} in {CONFIG}; expected 'LORA'; train it again")
