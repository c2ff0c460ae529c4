"""Rows of Hugging Face datasets: by hub name at a fixed commit, or from a folder that `datasets` wrote.

`datasets` is imported when a hub source is read, never before. No script of a dataset is run (datasets 4 has none),
and `trust_remote_code` does not exist here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import DataError
from assay.file_hashes import known_file_hash
from assay.records import SPLITS
from assay.tasks.datasets.sources import SourceSpec

if TYPE_CHECKING:
    from assay.tasks.datasets.reading import Row

_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_content(source: SourceSpec, data_root: Path | None) -> dict[str, str]:
    """What names the content: hashes of a local folder's files, or the commit that the revision stands for.

    Raises:
        DataError: the hub cannot be reached and the revision is neither a commit nor in the local cache.
    """
    if (folder := _local(source, data_root)) is not None:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
        return {path.relative_to(folder).as_posix(): known_file_hash(path) for path in files}
    return {f"hub:{source.hub}": _commit(source)}


def hub_rows(source: SourceSpec, data_root: Path | None) -> Iterator[tuple[str, Iterator[Row]]]:
    """(split, rows) for each split that the dataset has; class labels come as their names.

    Raises:
        DataError: the dataset or a split that was asked for cannot be had; one line.
    """
    folder = _local(source, data_root)
    loaded = _load(source, folder)
    names = dict(source.hub_splits) or {split: split for split in SPLITS if split in loaded}
    if missing := sorted(set(names.values()) - set(loaded)):
        raise DataError(
            f"hub dataset {source.hub!r}: saw the splits {', '.join(sorted(loaded))}; expected {missing[0]!r} among "
            "them; correct hub_splits"
        )
    if not names:
        raise DataError(
            f"hub dataset {source.hub!r}: saw the splits {', '.join(sorted(loaded))}; expected train, validation or "
            "test; say which is which with hub_splits"
        )
    for split in SPLITS:
        if split in names:
            yield split, _rows(loaded[names[split]], source, names[split])


def _load(source: SourceSpec, folder: Path | None) -> dict[str, Any]:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    try:
        if folder is None:
            return _configured(str(source.hub), source.hub_config, _commit(source))
        if (folder / "dataset_dict.json").is_file():
            return dict(datasets.load_from_disk(str(folder)))
        if (folder / "state.json").is_file():
            return {"train": datasets.load_from_disk(str(folder))}
        return _configured(str(folder), source.hub_config, None)
    except DataError:
        raise
    except Exception as error:  # the library raises dozens of types for "cannot be had"
        raise _unreachable(source, error) from None


def _configured(path: str, config: str | None, revision: str | None) -> dict[str, Any]:
    """All splits of a configuration.

    A branch that the hub converted to Parquet (refs/convert/parquet) has a folder for each configuration,
    CONFIG/SPLIT/0000.parquet, and names none: then `datasets` knows "default" alone.
    """
    import datasets

    try:
        return dict(datasets.load_dataset(path, config, revision=revision))
    except ValueError:
        if config is None or datasets.get_dataset_config_names(path, revision=revision) != ["default"]:
            raise
    return dict(datasets.load_dataset(path, data_dir=config, revision=revision))


def _rows(split: Any, source: SourceSpec, name: str) -> Iterator[Row]:
    features = {column: _labels(feature) for column, feature in split.features.items()}
    names = {column: labels for column, labels in features.items() if labels}
    answer = source.columns.get("output", "output")
    for number, row in enumerate(split, start=1):
        for column, labels in names.items():
            value = row[column]
            if value == -1 and (answer == column or f"{{{column}}}" in answer):
                raise DataError(
                    f"hub dataset {source.hub!r}, split {name!r}, row {number}: saw no label (-1) in {column!r}; "
                    "expected a labelled split; say which are with hub_splits, as in {test: validation}"
                )
            row[column] = [_named(item, labels) for item in value] if isinstance(value, list) else _named(value, labels)
        yield number, row


def _labels(feature: Any) -> list[str]:
    """Names of a ClassLabel's numbers, or of those in a list of them; empty for any other column."""
    inner = getattr(feature, "feature", feature)
    return list(inner.names) if hasattr(inner, "int2str") else []


def _named(value: Any, labels: list[str]) -> Any:
    return labels[value] if isinstance(value, int) and 0 <= value < len(labels) else value


def _local(source: SourceSpec, data_root: Path | None) -> Path | None:
    folder = (data_root or Path()) / (source.hub or "")
    return folder if data_root is not None and source.hub and folder.is_dir() else None


def _commit(source: SourceSpec) -> str:
    if _COMMIT.fullmatch(source.hub_revision):
        return source.hub_revision
    from huggingface_hub import HfApi, constants

    try:
        found = HfApi().dataset_info(str(source.hub), revision=source.hub_revision, timeout=20).sha
        if found:
            return str(found)
        reason: Exception = ValueError("the hub names no commit")
    except Exception as error:  # offline, unknown name, gated: all end the same way
        reason = error
    home = Path(constants.HF_HUB_CACHE) / f"datasets--{str(source.hub).replace('/', '--')}" / "refs"
    cached = home / source.hub_revision
    if cached.is_file():
        return cached.read_text().strip()
    raise _unreachable(source, reason)


def _unreachable(source: SourceSpec, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return DataError(
        f"hub dataset {source.hub!r}: cannot be read ({type(error).__name__}: {reason}); expected a hub that answers, "
        "a cached copy or a folder below the data root; check name, config and network, or use a file with `path`"
    )
