"""The mixtures of a study as files: one folder per distinct mixture, with the provenance of every row."""

from __future__ import annotations

import json
from pathlib import Path

from assay.errors import ConfigError, StorageError
from assay.fingerprint import content_hash
from assay.mixtures.export import mixture_jsonl
from assay.mixtures.sampling import MixtureBuilder
from assay.mixtures.spec import mixture_key
from assay.studies.cells import expand
from assay.studies.inputs import dataset_keys
from assay.studies.spec import Study
from assay.tasks.loaders import load_examples


def write_mixtures(study: Study, out: Path) -> list[dict[str, object]]:
    """Build every distinct mixture and write it below `out`; returns the list that `mixtures.json` holds.

    Raises:
        StorageError: `out` cannot be written.
        InputError: a dataset cannot be read, or a mixture asks for more rows than there are.
    """
    if study.data.derived:
        raise ConfigError(
            f"study {study.name!r}: saw derived datasets ({', '.join(sorted(study.data.derived))}), held by no file; "
            "expected data.sources alone; `assay run STUDY --until data` makes them in a storage"
        )
    keys = dataset_keys(study)
    rows = {name: load_examples(source, study.data.root) for name, source in study.data.sources.items()}
    builder = MixtureBuilder(rows, keys)
    names = {key: name for name, key in keys.items()}
    by_key = {keys[name]: examples for name, examples in rows.items()}
    listed: dict[str, dict[str, object]] = {}
    try:
        for cell in expand(study):
            key = mixture_key(cell.mixture, keys)
            if key in listed:
                continue
            folder = f"{cell.arm.replace(' ', '_')}_draw{cell.draw}" if cell.num_target else "instructions_only"
            if any(entry["folder"] == folder for entry in listed.values()):
                folder += f"_{key[:6]}"
            mixture = builder.build(cell.mixture, f"{study.name} {cell.arm}")
            for name, data in mixture_jsonl(mixture, by_key, names).items():
                path = out / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            listed[key] = {
                "key": key,
                "folder": folder,
                "arm": cell.arm,
                "train_rows": len(mixture.train),
                "validation_rows": len(mixture.validation),
                "train_hash": content_hash((out / folder / "train.jsonl").read_bytes()),
            }
        entries = list(listed.values())
        (out / "mixtures.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable folder") from error
    return entries
