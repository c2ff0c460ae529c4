"""`assay gc`: what no study in a storage wants any more, and on request its end."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import typer

from assay.store import Store, StoredArtifact
from assay.studies.garbage import find_garbage

DAY_S = 86_400.0


def gc_command(storage: str, older_than_days: float, delete: bool, forget: Sequence[str], as_json: bool) -> None:
    """Say what would go; with `delete`, let it go."""
    store = Store(storage)
    found = find_garbage(store, now_s=time.time(), min_age_s=older_than_days * DAY_S, forget=forget)
    if delete:
        for artifact in found.unwanted:
            store.delete(artifact.kind, artifact.key)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "storage": store.uri,
                    "deleted": delete,
                    "unwanted": [
                        {"kind": a.kind, "key": a.key, "bytes": a.num_bytes, "whole": a.whole} for a in found.unwanted
                    ],
                    "too_young": len(found.too_young),
                    "wanted": found.wanted,
                    "left_alone": dict(found.left_alone),
                },
                indent=2,
            )
        )
        return
    typer.echo(f"{store.uri}: {found.wanted:,} artifacts are wanted by a study")
    for kind in sorted({artifact.kind for artifact in found.unwanted}):
        typer.echo(f"  {kind:<12} {_sum([artifact for artifact in found.unwanted if artifact.kind == kind])}")
    verb = "deleted" if delete else "would go; pass --delete to delete them"
    typer.echo(f"{_sum(found.unwanted)} that no study wants, older than {older_than_days:g} days: {verb}")
    if found.too_young:
        typer.echo(f"{_sum(found.too_young)} that no study wants are younger and stay")
    if found.left_alone:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.left_alone.items()))
        typer.echo(f"of kinds that studies do not list, left alone: {kinds}")


def _sum(artifacts: Sequence[StoredArtifact]) -> str:
    return f"{len(artifacts):,} artifacts, {sum(a.num_bytes for a in artifacts) / 2**20:,.1f} MiB"
