"""Rows asked for and trained, as far as a storage remembers them; nothing is counted here, and no network is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.errors import AssayError, InputError
from assay.fingerprint import fingerprint
from assay.model_folders import HUB_ID, SHIPPED, check_folder
from assay.store import Store
from assay.studies.exclusions import training_limit, without_template
from assay.studies.prepared import prepare_study
from assay.studies.results.row_figures import ROWS, RowFigures, row_figures
from assay.studies.spec import TINY, Study


def remembered_rows(study: Study, storage: str) -> list[RowFigures]:
    """Figures that a run of this study left in a local storage, else what its counts say; none where nobody counted."""
    if "://" in storage or not Path(storage).is_dir():
        return []
    store = Store(storage)
    identity = fingerprint(study.identity())
    for name in store.studies():
        if (name == study.name or name.startswith(f"{study.name}-")) and store.study_has(name, ROWS):
            kept = store.read_study_json(name, ROWS)
            if kept["identity"] == identity:
                return [RowFigures(**row) for row in kept["rows"]]
    if _needs_network(study):
        return []
    try:
        figures = row_figures(prepare_study(study, "", store))
    except AssayError:  # data that is not here: the plan says what it assumes, and a run what is missing
        return []
    return [row for row in figures if row.left_out is not None]


def row_lines(study: Study, rows: Sequence[RowFigures]) -> list[str]:
    """For people: a line for each dataset and base."""
    limit = training_limit(study)
    lines = [f"  a run refuses        {line}" for line in refused_bases(study)]
    lines += [f"  prompts              {line}" for line in without_template(study)]
    if not rows:
        over = "" if limit is None else f"; a run first leaves out rows over {limit} tokens"
        return [*lines, f"  rows trained         not counted yet: at most the training rows above{over}"]
    for row in rows:
        trained = "?" if row.trained is None else f"{row.trained:,}"
        asked = "all" if row.asked is None else f"{row.asked:,}"
        line = f"  rows of {row.dataset}, {row.base_model}: {trained} trained of {asked} asked"
        line += f", {row.left_out:,} of the training split cannot be trained on" if row.left_out else ""
        line += f"; {row.over_positions:,} longer than the base's own positions" if row.over_positions else ""
        line += f"; {row.prompts_cut or 0:,} of {row.prompts or 0:,} test prompts cut"
        line += f"; {row.spell_marks:,} rows spell special tokens" if row.spell_marks else ""
        lines.append(line)
    return lines


def refused_bases(study: Study) -> list[str]:
    """A line for each base that a run on this machine would refuse, as far as its folder tells; no hub is asked."""
    lines = []
    for name in study.all_models:
        folder = Path(name).expanduser()
        if name in (TINY, *SHIPPED):
            continue
        if folder.is_dir():
            try:
                check_folder(folder, "base model")
            except InputError as error:
                lines.append(str(error))
        elif name.startswith((".", "/", "~")):
            lines.append(f"base model {name}: saw no such folder on this machine; check the path")
    return lines


def _needs_network(study: Study) -> bool:
    """Whether a base or a dataset may have to be asked for on the hub."""
    on_hub = [
        name for name in study.all_models if name not in (TINY, *SHIPPED) and not Path(name).expanduser().is_dir()
    ]
    root = Path(study.data.root).expanduser() if study.data.root else None
    sources = [source.hub for source in study.used.sources.values() if source.hub]
    return any(map(HUB_ID.match, on_hub)) or any(root is None or not (root / name).is_dir() for name in sources)
