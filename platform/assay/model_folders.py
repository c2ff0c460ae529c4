"""Where a model lies and what it is called: a folder by its content, a hub id by its revision.

Base models, encoders and reward models alike; nothing here loads one.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from assay.adapter_files import MAX_HEADER_BYTES
from assay.errors import InputError
from assay.file_hashes import known_file_hash
from assay.fingerprint import fingerprint
from assay.store import Store

BASE_KIND = "base"
"""Kind of the artifacts that hold a base model."""
TRAINED_KIND = "adapter"
"""Kind of what trainings make, whole models among them."""
WEIGHT_SUFFIX = ".safetensors"
UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""Weight files whose format can run code when they are read."""
MODEL_SUFFIXES = (".safetensors", ".json", ".model", ".txt", ".jinja", ".tiktoken")
"""Files that make a model: weights, configuration, tokenizer, chat template."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
SHIPPED = {"toy": Path(__file__).parent / "shipped_models" / "toy"}
"""Models that come with the package, by the name that a study gives them. `jobs/make_toy_base.py` makes "toy" anew."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be loaded."""

    name: str
    """What people call it; never a path of this machine."""
    key: str
    """32 hex digits over its content (folder) or its id and commit (hub)."""
    path: str
    """Local folder with weights, configuration and tokenizer."""
    source: str = ""
    """Where another machine finds the same: `owner/model@commit` of the hub, or a name of `SHIPPED`; empty for a user's
    folder."""


def find_model(
    name: str, what: str, *, revision: str | None = None, local_name: str | None = None, nested: bool = False
) -> FoundModel:
    """Find a model and check that it can be loaded safely.

    Args:
        name: a name of `SHIPPED`, a local folder, or a hub id `owner/model` with an optional `@revision`.
        what: "base model", "encoder", ...: begins every complaint.
        revision: branch, tag or commit on the hub; default the one in `name`, else "main".
        local_name: what to call a folder; default its last part.
        nested: whether files in folders below belong to the model (sentence-transformers keeps its pooling there).

    Raises:
        InputError: one line: no such folder, no tokenizer, weights only in an unsafe format, or the hub cannot be
            reached.
    """
    if name in SHIPPED:
        return FoundModel(name, folder_key(SHIPPED[name], what), str(SHIPPED[name]), source=name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return FoundModel(
            name=local_name or folder.resolve().name,
            key=folder_key(folder, what, nested=nested),
            path=str(folder.resolve()),
        )
    hub_id, _, asked = name.partition("@")
    if name.startswith((".", "/", "~")) or not HUB_ID.fullmatch(hub_id):
        raise InputError(
            f"{what} {name!r}: saw no such folder; expected a Hugging Face model folder or a hub id owner/model; "
            "check the path"
        )
    return _from_hub(hub_id, what, revision or asked or "main")


def local_model(
    store: Store,
    path: str,
    key: str,
    source: str = "",
    *,
    what: str = "base model",
    token: Callable[[], str | None] = lambda: None,
) -> str:
    """Where this machine reads a model that another one found. Workers of a cluster ask `ray_models.model_here`.

    Processes of one machine that lack the same model fetch it once: the others wait for a lock.

    Args:
        store: where bases that a study made, and models that it trained whole, lie.
        path: the folder on the machine that found it; taken where this one has it too.
        key: of the model; the store's artifact of that key is fetched once a machine.
        source: `owner/model@commit`: the same commit from the hub, or out of this machine's copy of it; or a name of
            `SHIPPED`: what this machine's package has under it, where its content is the same.
        what: "base model", "encoder", ...: begins every complaint.
        token: asked for the hub's token where there is something to download; None: this machine's own, if any.

    Raises:
        InputError: this machine has none of them.
    """
    if path and Path(path).is_dir():
        return path
    for kind in (BASE_KIND, TRAINED_KIND):
        if key and store.exists(kind, key):
            with nullcontext() if store.is_local else _one_fetches(key):
                return str(store.local_dir(kind, key))
    if source in SHIPPED:
        found = find_model(source, "base model")
        if found.key == key:
            return found.path
        raise InputError(
            f"base model {source!r}: saw other content in this machine's package; expected that of the machine that "
            "started the study; install the same version of Assay on all machines"
        )
    if source:
        hub_id, _, commit = source.partition("@")
        with _one_fetches(source):
            return _from_hub(hub_id, what, commit, token()).path
    raise InputError(
        f"{what} {path}: saw no such folder on this machine, and none in {store.uri}; expected one that "
        "every machine of the cluster can read; use a hub id, or a folder that is mounted on all of them"
    )


def _one_fetches(name: str) -> FileLock:
    """A lock of this machine on a model that is being fetched; the system frees it where its holder dies."""
    folder = Path(os.environ.get("ASSAY_CACHE", "~/.cache/assay")).expanduser() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{fingerprint(name)}.lock")


def folder_key(folder: Path, what: str, *, nested: bool = False) -> str:
    """Key of a model folder: hash of the names and contents of the files that make the model.

    Raises:
        InputError: see `find_model`.
    """
    check_folder(folder, what)
    found = folder.rglob("*") if nested else folder.iterdir()
    files = sorted(path for path in found if path.is_file() and path.suffix in MODEL_SUFFIXES)
    hashes = {path.relative_to(folder).as_posix(): known_file_hash(path) for path in files}
    return fingerprint({"kind": "model-folder", "files": hashes})


def has_chat_template(folder: Path) -> bool:
    """Whether a model's folder holds a chat template."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, RecursionError, AttributeError):
        return False


@lru_cache(maxsize=64)
def model_type(path: str) -> str:
    """What kind of model a folder holds, as transformers calls it; empty where it is none, or not here."""
    return str(_configuration(Path(path)).get("model_type", "")) if path else ""


def num_parameters(folder: Path) -> int:
    """Numbers in a model's weight files, by their headers alone. Tied weights are stored once.

    Raises:
        InputError: a weight file is no safetensors file.
    """
    total = 0
    for path in sorted(folder.glob(f"*{WEIGHT_SUFFIX}")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            try:
                header = json.loads(file.read(length)) if length <= MAX_HEADER_BYTES else None
            except (ValueError, RecursionError):
                header = None
        if not isinstance(header, dict):
            raise InputError(f"base model {folder.name}: {path.name} is no safetensors file; save the model again")
        shapes = [part["shape"] for name, part in header.items() if name != "__metadata__"]
        total += sum(math.prod(shape) for shape in shapes)
    return total


def _configuration(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def position_limit(folder: Path) -> int | None:
    """Tokens of a sequence at most, as a model was made for, by its config.json; None where that names no limit."""
    config = _configuration(folder)
    if isinstance(config.get("text_config"), dict):
        config = {**config, **config["text_config"]}
    found = [config.get(name) for name in ("max_position_embeddings", "n_positions")]
    return next((limit for limit in found if isinstance(limit, int) and limit > 0), None)


def check_folder(folder: Path, what: str) -> None:
    """Refuse a folder that cannot be loaded, or not safely.

    Raises:
        InputError: names what is missing.
    """
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        raise InputError(f"{what} {folder}: saw no config.json; expected a Hugging Face model folder; check the path")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {folder}: config.json is no JSON ({error}); save the model again") from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"{what} {folder}: config.json names no model_type; save the model again")
    if "auto_map" in config and not _transformers_knows(str(config["model_type"])):
        raise InputError(
            f"{what} {folder}: saw auto_map in config.json (code that comes with the weights) and the model type "
            f"{config['model_type']!r}, which transformers does not have; expected one that it has; convert the model"
        )
    if not names & set(TOKENIZER_FILES):
        raise InputError(
            f"{what} {folder}: saw no tokenizer; expected {' or '.join(TOKENIZER_FILES[:2])} beside the weights; "
            "save the tokenizer into the folder with tokenizer.save_pretrained"
        )
    if not any(name.endswith(WEIGHT_SUFFIX) for name in names):
        unsafe = sorted(name for name in names if name.endswith(UNSAFE_SUFFIXES))
        seen = f"only {unsafe[0]} (a pickle, which can run code)" if unsafe else "no weights"
        raise InputError(
            f"{what} {folder}: saw {seen}; expected *.safetensors; where you trust the file, convert "
            'it: python -c "from transformers import AutoModelForCausalLM as M; '
            "M.from_pretrained('FOLDER').save_pretrained('FOLDER')\""
        )


def _transformers_knows(model_type: str) -> bool:
    """Whether transformers has a class of its own, so that the code beside the weights is not needed."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


def _from_hub(hub_id: str, what: str, revision: str, token: str | None = None) -> FoundModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    asked = f"{what} {hub_id!r} at revision {revision!r}"
    try:
        patterns = [f"*{suffix}" for suffix in MODEL_SUFFIXES]
        folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns, token=token))
    except GatedRepoError:
        raise InputError(f"{asked}: the hub asks for consent or a token; accept its terms and set HF_TOKEN") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(f"{asked}: the hub knows no such model; check the id") from None
    except (LocalEntryNotFoundError, OSError) as error:
        reason = type(error).__name__
        raise InputError(
            f"{asked}: saw no copy on this machine and no hub ({reason}); expected a network or a downloaded model; "
            "pass a model folder, or unset HF_HUB_OFFLINE where there is a network"
        ) from None
    check_folder(folder, what)
    # a snapshot's folder is called after its commit, so a branch name is never an identity
    return FoundModel(
        name=hub_id,
        key=fingerprint({"kind": "hub", "id": hub_id, "commit": folder.name}),
        path=str(folder),
        source=f"{hub_id}@{folder.name}",
    )
