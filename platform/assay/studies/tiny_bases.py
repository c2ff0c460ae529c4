"""The base model that a study trains itself, as an artifact: found by key, or pre-trained and stored."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from assay.fingerprint import artifact_key
from assay.hooks import Progress
from assay.records import Example
from assay.store import Store
from assay.tasks.toyworld import world as toyworld
from assay.tasks.toyworld.plain import plain_documents
from assay.tasks.toyworld.world import PretrainingDocument, pretraining_documents
from assay.training.tiny_base import spec as tiny_base
from assay.training.tiny_base.spec import TinyBaseSpec, text_documents

BASE_KIND = "base"


def tiny_base_key(spec: TinyBaseSpec, instructions_key: str) -> str:
    """Key of the base that `spec` makes of the toy world's documents, or of an instruction set's text.

    Args:
        spec: what is built.
        instructions_key: key of the instruction set's dataset; of no meaning to a base that reads the toy world.
    """
    read = {"toyworld": str(toyworld.VERSION)} if spec.reads_toyworld else {"dataset": instructions_key}
    return artifact_key(BASE_KIND, tiny_base.SCHEMA_VERSION, spec, read)


def store_tiny_base(
    store: Store,
    spec: TinyBaseSpec,
    instructions_key: str,
    instruction_rows: Callable[[], Sequence[Example]],
    progress: Progress,
) -> int:
    """Pre-train the base where the store does not hold it.

    Args:
        store: where it goes, under `tiny_base_key`.
        spec: what is built.
        instructions_key: see `tiny_base_key`.
        instruction_rows: reads the instruction set; called only by a base that reads it.
        progress: told of steps.

    Returns:
        Documents read; 0 where the store had the base.
    """
    key = tiny_base_key(spec, instructions_key)
    if store.exists(BASE_KIND, key):
        return 0
    from assay.training.tiny_base.tiny_base_engine import build_tiny_base

    documents = _documents(spec, instruction_rows)
    with tempfile.TemporaryDirectory() as folder:
        build_tiny_base(spec, Path(folder), documents, progress)
        with store.writing(BASE_KIND, key, spec.model_dump(mode="json")) as artifact:
            artifact.folder(Path(folder))
    return len(documents)


def _documents(spec: TinyBaseSpec, instruction_rows: Callable[[], Sequence[Example]]) -> list[PretrainingDocument]:
    if not spec.reads_toyworld:
        return text_documents(instruction_rows())
    make = plain_documents if spec.flavour == "toy_plain" else pretraining_documents
    return make(spec.num_documents, spec.seed)
