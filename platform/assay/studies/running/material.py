"""The rows that a study trains on, from its inputs to its mixtures: derived, counted, drawn and stored."""

from __future__ import annotations

from dataclasses import dataclass

from assay.fingerprint import fingerprint
from assay.mixtures.sampling import MixtureBuilder, store_mixture
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.mixtures.spec import MixtureSpec, mixture_key
from assay.preference.sources import GivenPairs
from assay.studies.derived import make_derived
from assay.studies.exclusions import count_missing, row_tokens, without_template
from assay.studies.folder import StudyFolder
from assay.studies.inputs import Datasets
from assay.studies.results.row_figures import ROWS, RowFigures, drawn_rows, in_words, row_figures
from assay.studies.running.opened import OpenedStudy
from assay.studies.writer import Writer
from assay.tasks.datasets.preferences import materialise_pairs


@dataclass
class Material:
    """The rows of one study. Whatever the store holds is not made again."""

    opened: OpenedStudy
    datasets: Datasets
    _builder: MixtureBuilder | None = None
    """Looks for leaks and copies once, though mixtures are drawn for a check before the base and for good after it."""

    def read_pairs(self) -> None:
        """Read preferences that are given: a file that cannot be read is told before anything is trained."""
        study, grid = self.opened.study, self.opened.study.grid.preferences
        for spec in () if grid is None else grid.pairs.values():
            if isinstance(spec, GivenPairs):
                materialise_pairs(self.opened.store, study.data.sources[spec.dataset], study.data.root)

    def derive(self, writer: Writer) -> None:
        """Make the datasets that the study makes of its others."""
        opened, datasets = self.opened, self.datasets
        tasks = opened.study.registry.tasks
        derived = opened.study.used.derived
        for sentence in make_derived(
            opened.store, derived, datasets.keys, datasets.rows, writer, opened.progress, tasks
        ):
            opened.costs.note("data", sentence)

    def count(self) -> bool:
        """Count tokens of rows that nobody counted yet: what is too long leaves the pools before anything is drawn.

        Whether the study's artifacts may be others now.
        """
        opened = self.opened
        if opened.prepared.counts.is_whole:
            return False
        for line in without_template(opened.study):
            opened.costs.note("lengths", line)
        prepared = opened.recounted()  # the study's own base may have come, and counts with it
        counts, bases = prepared.counts, prepared.bases
        counted = count_missing(opened.study, opened.store, counts, bases, self.datasets.rows, opened.progress)
        if counted:
            opened.costs.note("lengths", f"tokens of {counted:,} rows counted, once for each tokenizer")
            opened.recounted()
        return True

    def tell_rows(self, folder: StudyFolder) -> list[RowFigures]:
        """Keep with the study what is trained of what was asked for; `assay plan` shows it."""
        opened = self.opened
        is_compat = opened.study.mode == "compat"  # in strict, rows that leave the pools are never drawn
        drawn = drawn_rows(opened.store, opened.prepared.artifacts.mixtures) if is_compat else None
        figures = row_figures(opened.prepared, drawn)
        kept = {"identity": fingerprint(opened.study.identity()), "rows": [row.as_dict() for row in figures]}
        opened.store.write_study_json(folder.name, ROWS, kept)
        if (told := in_words(figures)) and told not in opened.costs.notes.get("lengths", ""):
            opened.costs.note("lengths", told)
        return figures

    def draw(self, *, stored: bool = True) -> None:
        """Draw every mixture that the store lacks; where `stored` is false only to see that its rows are there."""
        opened, datasets = self.opened, self.datasets
        # the cells of all bases and seeds share one; in the study's order, so that a complaint names the first
        distinct: dict[int, tuple[MixtureSpec, str]] = {}
        for cell in opened.prepared.cells:
            if cell.start is not None:
                distinct.setdefault(id(cell.start.mixture), (cell.start.mixture, "instruction tuning"))
            if cell.is_trained:
                distinct.setdefault(id(cell.mixture), (cell.mixture, cell.arm))
        counts = opened.prepared.counts
        known = {"words", *counts.tokenizers.values()} if counts.is_whole else {"words"}
        missing = {
            mixture_key(spec, datasets.keys): (spec, arm)
            for spec, arm in distinct.values()
            if stored or spec.count_by in known  # tokens are counted once there is a base
        }
        for key in opened.store.present(MIXTURE_KIND, missing):
            del missing[key]
        if missing:
            if self._builder is None:
                self._builder = MixtureBuilder(datasets.by_name(), datasets.keys)
            self._builder.excluded = opened.prepared.exclusions.reasons
            if opened.study.grid.shares_tokens:
                self._builder.row_tokens = row_tokens(counts)
            for spec, arm in missing.values():
                mixture = self._builder.build(spec, f"{opened.study.name} {arm}")
                if stored:
                    store_mixture(opened.store, mixture, spec)
            if stored:
                opened.costs.note("mixtures", f"{len(missing)} built")
