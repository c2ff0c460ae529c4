"""A study opened on a store: what it wants, what it may spend and what it has spent.

Every part of a run takes it, and finds here what another part learned: lengths of rows change what is wanted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

from assay.hooks import Progress
from assay.llm.ledger.tables import ledger_url
from assay.scoring.jobs import KIND as SCORES
from assay.store import Store
from assay.studies.artifacts import StudyArtifacts
from assay.studies.costs import Costs
from assay.studies.folder import StudyFolder, open_folder
from assay.studies.prepared import PreparedStudy, prepare_study
from assay.studies.scores import ScoreJobs
from assay.studies.spec import TINY, Study
from assay.studies.tiny_bases import BASE_KIND
from assay.studies.writer import EmbeddedJudge

COSTS = "side/costs.json"


@dataclass
class OpenedStudy:
    """One study on one store. Nothing here starts an engine or asks a judge."""

    study: Study
    store: Store
    progress: Progress
    embedded: EmbeddedJudge
    max_usd: float | None = None
    retry_failed: bool = False
    """Ask the judge again where a call brought no reply; what it did answer is not asked again."""
    preflight: bool = False
    """Try each base and the judge before the sweep, see `preflight`."""
    costs: Costs = field(default_factory=Costs)

    @cached_property
    def prepared(self) -> PreparedStudy:
        """What the study wants, from its inputs' content: read once.

        Raises:
            InputError: an input is missing or unreadable.
        """
        return prepare_study(self.study, self.embedded.name, self.store)

    def recounted(self) -> PreparedStudy:
        """The same by the lengths that the store knows now; `prepared` from here on."""
        self.__dict__["prepared"] = self.prepared.recounted(self.store)
        return self.prepared

    def ended(self, adapters: Collection[str]) -> PreparedStudy:
        """The same without these trainings, which ended early; `prepared` from here on."""
        self.__dict__["prepared"] = self.prepared.without(adapters)
        return self.prepared

    @property
    def budget_usd(self) -> float | None:
        """Dollars that the study may have cost in all, earlier runs included: as the caller says, else the study."""
        if self.max_usd is not None:
            return self.max_usd
        own = [self.study.judge.max_usd, None if self.study.decide is None else self.study.decide.max_usd]
        return min((usd for usd in own if usd is not None), default=None)

    @property
    def ledger(self) -> str:
        """URL of the ledger that this store's calls are booked in."""
        return ledger_url(self.store.uri)

    def open(self) -> StudyFolder:
        """The study's folder, by a key over its identity and its inputs' content. Reads inputs, runs nothing.

        Raises:
            InputError: an input is missing or unreadable, or the store cannot be written.
        """
        self.store.check_writable()
        return open_folder(self.store, self.study.name, self.prepared.key, self.study.model_dump(mode="json"))

    def placed(self, plan: StudyArtifacts) -> StudyArtifacts:
        """The artifacts with the folder of the study's own base; it must be there."""
        return plan.at(self.own_base)

    @property
    def own_base(self) -> dict[str, str]:
        """Folder of the study's own base by its key, if it has one; it must be there."""
        base = self.prepared.bases.get(TINY)
        return {} if base is None else {base.key: str(self.store.local_dir(BASE_KIND, base.key))}

    def has_scores(self, scoring: ScoreJobs) -> bool:
        """Whether the store holds all of these."""
        return self.store.present(SCORES, scoring.keys) == set(scoring.keys)

    def read_costs(self, folder: StudyFolder) -> None:
        """Add what earlier runs of the study spent."""
        if self.store.study_has(folder.name, COSTS):
            self.costs.add(self.store.read_study_json(folder.name, COSTS))

    def save_costs(self, folder: StudyFolder) -> None:
        """Keep what was spent so far with the study, interrupted or not."""
        self.store.write_study_json(folder.name, COSTS, self.costs.as_dict())
