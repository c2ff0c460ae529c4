"""Trainings that see the same rows under two names: one is trained, the others are copies of what it made.

Natural shares follow the rows that there are, so nobody knows before a mixture is built whether they are those of
another point. Rows, recipe and start being equal, so are the weights, to the bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from assay.fingerprint import content_hash, fingerprint
from assay.mixtures.sampling import TRAIN_FILE, VALIDATION_FILE
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.mixtures.spec import MixtureSpec
from assay.store import MANIFEST, Store
from assay.training.checkpoints import Checkpoints
from assay.training.spec import ADAPTER_KIND, TrainingJob


def twins(
    store: Store, jobs: Collection[TrainingJob], others: Sequence[TrainingJob], mixtures: Mapping[str, MixtureSpec]
) -> dict[str, str]:
    """Key of each of `jobs` that need not be trained -> of the training, stored or among `jobs`, that it equals.

    Args:
        store: holds the mixtures.
        jobs: wanted now.
        others: all of the study's trainings.
        mixtures: specs by key; only those of natural shares are compared with others.
    """
    if not any(job.mixture_key in mixtures and mixtures[job.mixture_key].is_natural for job in others):
        return {}
    rows: dict[str, str] = {}

    def seen(job: TrainingJob) -> tuple[str, ...]:
        key = job.mixture_key
        if key not in rows:
            files = (store.read_bytes(MIXTURE_KIND, key, name) for name in (TRAIN_FILE, VALIDATION_FILE))
            rows[key] = content_hash(b"".join(files))
        return rows[key], job.base_key, job.start_adapter_key or "", job.evaluation_key or "", fingerprint(job.spec)

    wanted = {job.key for job in jobs}
    there = store.present(ADAPTER_KIND, [job.key for job in others if job.key not in wanted])
    first: dict[tuple[str, ...], str] = {}
    for job in others:
        if job.key in there:
            first.setdefault(seen(job), job.key)
    return {job.key: kept for job in jobs if (kept := first.setdefault(seen(job), job.key)) != job.key}


def copy_twin(store: Store, job: TrainingJob, trained: str) -> None:
    """What another training of the same rows made, under this one's key."""
    source = store.local_dir(ADAPTER_KIND, trained)
    spec = {"train": job.spec, "base": job.base_key, "mixture": job.mixture_key, "same_as": trained}
    with store.writing(ADAPTER_KIND, job.key, spec) as writer:
        for path in sorted(source.iterdir()):
            if path.name != MANIFEST:
                writer.file(path.name, path.read_bytes())
    Checkpoints(store, job.key).clear()  # it may have been trained up to a barrier
