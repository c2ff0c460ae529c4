"""`assay init`: a folder of files in, a commented study file out, and what could not be told."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from assay.errors import AssayError, ConfigError, StorageError
from assay.studies.catalog import load_study
from assay.studies.first_file.folder import dataset_name, look
from assay.studies.first_file.text import study_text

NAME = "study.yaml"


def init_command(folder: Path, out: Path | None) -> None:
    """Look at the folder's files, write the study file, and say what it holds.

    Raises:
        ConfigError: no folder, no rows in it, or the file is there already.
        StorageError: it cannot be written.
    """
    path = folder / NAME if out is None else out
    looked = look(folder)
    if path.exists():
        raise ConfigError(f"init: saw {path} already; expected a new file; move it, or name another with --out")
    name = re.sub(r"^[^a-z0-9]+", "", dataset_name(folder.resolve().name))[:64] or "study"
    text = study_text(name, str(folder.resolve()), looked.datasets)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {path}: cannot write ({error.strerror}); expected a writable path") from None
    try:
        load_study(str(path))
    except AssayError:
        path.unlink()
        raise
    for part in looked.datasets:
        shape = "instruction set" if part.answer is None else f"task, answers: {part.answer}"
        labels = f" ({', '.join(part.labels)})" if part.labels else ""
        typer.echo(f"{part.path:<28} {part.num_rows:>7,} rows looked at   {shape}{labels}")
        for said in part.unsure:
            typer.echo(f"{'':<28} could not tell {said}")
    for file, why in looked.left_out:
        typer.echo(f"{file:<28} left out: {why}")
    typer.echo(f"study    {path}")
    typer.echo(f"then     assay plan {path}")
