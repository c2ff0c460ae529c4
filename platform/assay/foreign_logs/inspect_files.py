"""inspect-ai's logs: `.eval`, a zip of JSON (deflate or zstd), and `.json`. Scores come from the samples' summaries.

Log version 2. Members of an `.eval`: `header.json`, `summaries.json` (or `_journal/summaries/*.json` of a run that did
not end), `samples/<id>_epoch_<n>.json`. Nothing is unpacked to disk, and no member may grow beyond `MAX_MEMBER_BYTES`.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from assay.errors import ConfigError
from assay.foreign_logs.logs import ForeignLog, Scores, as_number

VERSIONS = (2,)
MAX_MEMBER_BYTES = 2 << 30
_ZSTD = 93
_DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error)
"""What damaged archives raise beside OSError; a password is a RuntimeError, torn zstd data a ValueError."""
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


def read_inspect_log(path: Path) -> ForeignLog:
    """The log; an `.eval` by its summaries, a `.json` by its samples.

    Raises:
        ConfigError: no log of inspect-ai, or of another version.
    """
    if path.suffix == ".eval":
        with _opened(path) as archive:
            names = set(archive.namelist())
            header = _json(archive, "header.json" if "header.json" in names else "_journal/start.json", path)
            _check_version(header, path)
            samples: Iterable[Mapping[str, Any]] = list(_summaries(archive, names, path))
    else:
        header = _parsed(path.read_bytes(), str(path))
        _check_version(header, path)
        samples = _listed(header.get("samples") or [], str(path))
    about = header.get("eval") or {}
    scores, unscored, count = _scores_of(samples, path)
    return ForeignLog(str(path), "inspect-ai", str(about.get("task")), str(about.get("model")), scores, count, unscored)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, struct.error):
        raise ConfigError(f"{path}: saw no zip archive; expected an .eval log of inspect-ai; check the file") from None


def _check_version(header: Any, path: Path) -> None:
    version = header.get("version") if isinstance(header, Mapping) else None
    if version not in VERSIONS or not isinstance(header.get("eval"), Mapping):
        raise ConfigError(
            f"{path}: saw log version {version!r}; expected an inspect-ai log of version {VERSIONS[0]}; "
            "convert it with that tool"
        )


def _summaries(archive: zipfile.ZipFile, names: set[str], path: Path) -> Iterator[Mapping[str, Any]]:
    if "summaries.json" in names:
        yield from _listed(_json(archive, "summaries.json", path), f"{path}: summaries.json")
        return
    parts = sorted(name for name in names if name.startswith("_journal/summaries/"))
    for name in parts:
        yield from _listed(_json(archive, name, path), f"{path}: {name}")
    if not parts:
        for name in sorted(name for name in names if name.startswith("samples/")):
            yield _json(archive, name, path)


def _listed(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: saw a {type(value).__name__}; expected a list of samples; check the file")
    return value


def _scores_of(samples: Iterable[Mapping[str, Any]], path: Path) -> tuple[Scores, dict[str, int], int]:
    scores: Scores = {}
    unscored: Counter[str] = Counter()
    count = 0
    for sample in samples:
        if not isinstance(sample, Mapping) or "id" not in sample:
            raise ConfigError(f"{path}: saw a sample without an id; expected one in each; check the file")
        count += 1
        item = str(sample["id"])
        if sample.get("error"):
            unscored["error"] += 1
            continue
        if not sample.get("scores"):
            unscored["no score"] += 1
            continue
        if not isinstance(sample["scores"], Mapping):
            raise ConfigError(f"{path}: sample {item}: saw scores that are no object; expected one; check the file")
        for name, score in sample["scores"].items():
            value = score.get("value") if isinstance(score, Mapping) else score
            parts = (
                {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, Mapping) else {name: value}
            )
            for metric, part in parts.items():
                number = as_number(part)
                if math.isnan(number):
                    unscored[f"{metric}: no number"] += 1
                scores.setdefault(metric, {}).setdefault(item, []).append(number)
    return scores, dict(unscored), count


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    try:
        info = archive.getinfo(name)
        if info.file_size > MAX_MEMBER_BYTES:
            raise OSError(f"{info.file_size} bytes, at most {MAX_MEMBER_BYTES}")
        data = _zstd_member(archive, info) if info.compress_type == _ZSTD else archive.read(info)
    except (KeyError, ValueError, RuntimeError, OSError, EOFError, *_DAMAGES) as error:
        raise ConfigError(f"{path}: saw no readable {name} ({error}); expected one; the log is cut or no log") from None
    return _parsed(data, f"{path}: {name}")


def _zstd_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member of method 93, which Python's own zipfile cannot read."""
    import pyarrow as pa

    file = archive.fp
    assert file is not None
    data = bytes(pa.Codec("zstd").decompress(_packed(file, info), info.file_size).to_pybytes())
    if zlib.crc32(data) != info.CRC:
        raise OSError("its checksum is wrong")
    return data


def _packed(file: BinaryIO | Any, info: zipfile.ZipInfo) -> bytes:
    file.seek(info.header_offset)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    file.seek(header[-2] + header[-1], 1)
    return bytes(file.read(info.compress_size))


def _parsed(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: saw no JSON; expected a log of inspect-ai; check the file") from None
