"""Names of results: 32 hex digits over canonical JSON. Pure; no I/O but `file_hash`.

An artifact's key covers the stage's spec, the keys of its inputs and the schema version of what it writes,
so equal work has an equal name on every machine. A value without a canonical form (a lambda, an open client,
NaN) is refused, never `str()`-ed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from assay.config import Config

KEY_LENGTH = 32
"""Hex digits in a key: 128 bits, so that a billion artifacts collide with a chance of 1e-21."""


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no white space; equal values give equal text.

    Raises:
        TypeError: the value holds something that JSON cannot express.
        ValueError: the value holds NaN or an infinity.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: object) -> str:
    """32 hex digits that name `value`."""
    return content_hash(canonical_json(value).encode())


def content_hash(data: bytes) -> str:
    """32 hex digits that name these bytes."""
    return hashlib.sha256(data).hexdigest()[:KEY_LENGTH]


def file_hash(source: Path | BinaryIO) -> str:
    """`content_hash` of a file, read in blocks."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file_hash(file)
    digest = hashlib.sha256()
    while block := source.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()[:KEY_LENGTH]


def delimited_hash(fields: list[str]) -> str:
    """Hash of length-delimited fields: `["ab", "c"]` and `["a", "bc"]` differ."""
    digest = hashlib.sha256()
    for field in fields:
        data = field.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()[:KEY_LENGTH]


def artifact_key(kind: str, schema_version: int, spec: object, inputs: Mapping[str, str | list[str]]) -> str:
    """The key of a stage's output.

    Args:
        kind: what is made: "mixture", "adapter", "predictions", ...
        schema_version: raised whenever the code changes what it writes for the same spec.
        spec: all that changes the result and is no input; resources are no part of it.
        inputs: key (or keys, in order) of each named input; leaves are content hashes or revisions.
    """
    return fingerprint({"kind": kind, "schema": schema_version, "spec": spec, "inputs": dict(inputs)})


def _plain(value: object) -> object:
    if isinstance(value, Config):
        return _plain(value.identity())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no canonical JSON")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("canonical JSON needs string keys")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no canonical JSON")
