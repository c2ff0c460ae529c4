"""The mixtures of a study as files: one folder per distinct mixture, with the provenance of every row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from assay.errors import ConfigError, InputError, StorageError
from assay.fingerprint import content_hash
from assay.mixtures.export import mixture_jsonl
from assay.mixtures.sampling import MixtureBuilder
from assay.mixtures.spec import MixtureSpec, mixture_key
from assay.store import Store
from assay.studies.cells import expand
from assay.studies.exclusions import Counts, Exclusions, exclusions_of, remembered_counts, row_tokens
from assay.studies.inputs import dataset_keys, study_bases
from assay.studies.spec import Study
from assay.tasks.datasets.loaders import KIND as DATASET_KIND
from assay.tasks.datasets.loaders import load_examples, read_dataset

MOST_NAME = 100
"""Characters of a folder's name that come from its arm."""


def write_mixtures(
    study: Study,
    out: Path,
    store: Store | None = None,
    embedded_name: str | None = None,
    arm: str | None = None,
) -> list[dict[str, object]]:
    """Build every distinct mixture and write it below `out`; returns the list that `mixtures.json` holds.

    Args:
        study: whose mixtures.
        out: folder, made if it is not there.
        store: where derived datasets lie, and which rows a run leaves out; not needed by a study without either.
        embedded_name: of the embedded judge's endpoint, which derived datasets are named by.
        arm: only the mixtures of this arm, one for each draw; None: all.

    Raises:
        StorageError: `out` cannot be written.
        InputError: a dataset cannot be read, or a mixture asks for more rows than there are.
        ConfigError: a derived dataset has not been made in this storage, or no arm has this name.
    """
    keys = dataset_keys(study, embedded_name)
    used = study.used
    rows = {name: load_examples(source, used.root, study.registry.tasks) for name, source in used.sources.items()}
    for name in used.derived:
        if store is None or not store.exists(DATASET_KIND, keys[name]):
            where = "no storage" if store is None else store.uri
            raise ConfigError(
                f"study {study.name!r}: saw no derived dataset {name!r} in {where}; expected one; make it with "
                "`assay run STUDY --until data` and name the same --storage"
            )
        rows[name] = read_dataset(store, keys[name])
    counts = _counts(study, store, keys)
    exclusions = exclusions_of(study, counts)
    builder = MixtureBuilder(rows, keys, excluded=exclusions.reasons, row_tokens=row_tokens(counts))
    wanted = list(_mixtures(study, exclusions))
    if arm is not None:
        wanted = _of_arm(wanted, arm)
    names = {key: name for name, key in keys.items()}
    by_key = {keys[name]: examples for name, examples in rows.items()}
    listed: dict[str, dict[str, object]] = {}
    try:
        for name_of_arm, draw, spec in wanted:
            key = mixture_key(spec, keys)
            if key in listed:
                continue
            folder = _folder(name_of_arm, draw)
            if any(entry["folder"] == folder for entry in listed.values()):
                folder += f"_{key[:6]}"
            mixture = builder.build(spec, f"{study.name} {name_of_arm}")
            for name, data in mixture_jsonl(mixture, by_key, names).items():
                path = out / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            listed[key] = {
                "key": key,
                "folder": folder,
                "arm": name_of_arm,
                "train_rows": len(mixture.train),
                "validation_rows": len(mixture.validation),
                "train_hash": content_hash((out / folder / "train.jsonl").read_bytes()),
            }
        entries = list(listed.values())
        (out / "mixtures.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable folder") from error
    return entries


def _counts(study: Study, store: Store | None, keys: Mapping[str, str]) -> Counts:
    """Lengths of rows, as far as a run has counted them; none where its bases are not at hand."""
    if store is None:
        return Counts()
    try:
        return remembered_counts(study, store, keys, study_bases(study, keys))
    except InputError:  # the mixtures themselves need no base
        return Counts()


def _folder(arm: str, draw: int | None) -> str:
    """A folder's name from an arm's, which may hold anything."""
    plain = re.sub(r"[^\w.=%+,-]+", "_", arm)[:MOST_NAME].strip("._") or "mixture"
    return plain + ("" if draw is None else f"_draw{draw}")


def _of_arm(
    mixtures: Sequence[tuple[str, int | None, MixtureSpec]], arm: str
) -> list[tuple[str, int | None, MixtureSpec]]:
    found = [part for part in mixtures if part[0] == arm]
    if not found:
        names = list(dict.fromkeys(part[0] for part in mixtures))
        shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
        raise ConfigError(f"--arm: saw {arm!r}; expected one of the arms {shown}")
    return found


def _mixtures(study: Study, exclusions: Exclusions) -> Iterator[tuple[str, int | None, MixtureSpec]]:
    """(arm, draw, mixture) of every cell that is trained, and of what is trained before; N = 0 has no draw."""
    for cell in exclusions.apply(expand(study)):
        if cell.start is not None:
            yield "instruction tuning", None, cell.start.mixture
        if cell.is_trained:
            yield cell.arm, cell.draw if cell.num_target else None, cell.mixture
