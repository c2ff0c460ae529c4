"""The tiny base of the small studies, pre-trained: it comes with the package, as a pre-trained model does elsewhere.

Trained anew on each machine it differs from processor to processor, and a study's findings with it; and it takes longer
than all else in the demo. Weights lie here in float16 and are read into float32. NumPy and JSON alone.

    python -m assay.training.tiny_base.shipped

makes the files again, of `QUICK_BASE`; commit them together.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from assay.fingerprint import delimited_hash, file_hash
from assay.training.tiny_base.spec import QUICK_BASE, TinyBaseSpec

FOLDER = Path(__file__).parent / "shipped"
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def is_shipped(spec: TinyBaseSpec) -> bool:
    """Whether this base comes with the package."""
    return spec == QUICK_BASE


def shipped_hash() -> str:
    """Names the content of the files, which the base's key covers."""
    return delimited_hash([part for path in _files() for part in (path.name, file_hash(path))])


def copy_shipped(out_dir: Path) -> None:
    """The base as a Hugging Face folder in float32, as the engines take it."""
    from safetensors.numpy import load_file, save_file

    out_dir.mkdir(parents=True, exist_ok=True)
    for path in _files():
        if path.name != WEIGHTS:
            shutil.copyfile(path, out_dir / path.name)
    weights = {name: value.astype(np.float32) for name, value in load_file(FOLDER / WEIGHTS).items()}
    save_file(weights, out_dir / WEIGHTS, metadata={"format": "pt"})


def _files() -> list[Path]:
    return sorted(path for path in FOLDER.iterdir() if path.suffix in (".json", ".safetensors"))


def remake() -> None:
    """Pre-train the base here and put it in the place of the files."""
    from safetensors.numpy import load_file, save_file

    from assay.tasks.toyworld.world import pretraining_documents
    from assay.training.tiny_base.tiny_base_engine import build_tiny_base

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        build_tiny_base(QUICK_BASE, made, pretraining_documents(QUICK_BASE.num_documents, QUICK_BASE.seed))
        FOLDER.mkdir(exist_ok=True)
        for path in made.glob("*.json"):
            plain = json.loads(path.read_text(encoding="utf-8"))
            text = json.dumps(plain, sort_keys=True, ensure_ascii=False) + "\n"
            (FOLDER / path.name).write_text(text, encoding="utf-8")
        weights = {name: value.astype(np.float16) for name, value in load_file(made / WEIGHTS).items()}
        save_file(weights, FOLDER / WEIGHTS, metadata={"format": "pt"})


if __name__ == "__main__":
    remake()
