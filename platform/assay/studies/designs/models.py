"""Design `models`: models compared as they are, without any training, on evaluation sets of the study's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from assay.metaeval.study_tables.frame import MANY
from assay.mixtures.spec import MixtureSpec
from assay.scoring.judges.table import SHIPPED_PROTOCOLS
from assay.studies.designs.asked import AskedSet, own_sets
from assay.studies.designs.cell import Cell
from assay.studies.designs.design import DesignBase
from assay.studies.given.model import GivenModel, Ranking

if TYPE_CHECKING:
    from assay.studies.spec import Study

JUDGE = "judge"
AS_GIVEN = "as given"
"""What tables call the base of all models that are compared as they are: they stand in one board."""


class ModelsGrid(DesignBase):
    """Given models side by side; the sets that they answer are `evaluation.sets`."""

    paper_places: ClassVar[Mapping[str, str]] = {}
    counts_targets: ClassVar[bool] = False
    asks_own_sets: ClassVar[bool] = True

    design: Literal["models"] = "models"
    models: tuple[GivenModel, ...] = Field(min_length=2)
    """What is compared."""
    baseline: str = ""
    """Model that the others are compared with; empty: the first."""
    rank: Ranking | None = Ranking()
    """How the judge ranks them beside rating each answer; None: it does not."""
    losses: Mapping[str, float] = Field(default_factory=dict)
    """Model -> its test loss, drawn against its judged score; in a study file the path of a file of model and loss."""

    @field_validator("losses")
    @classmethod
    def _finite(cls, losses: Mapping[str, float]) -> Mapping[str, float]:
        if bad := sorted(name for name, loss in losses.items() if not math.isfinite(loss)):
            raise ValueError(f"losses: saw no number for {bad[0]!r}; expected one for each model")
        return losses

    @model_validator(mode="after")
    def _names_fit(self) -> ModelsGrid:
        names = [model.name for model in self.models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"models: saw two named {twice[0]!r}; expected a name of its own for each")
        shown = ", ".join(names)
        if self.baseline and self.baseline not in names:
            raise ValueError(f"baseline: saw {self.baseline!r}; expected one of the models {shown}")
        if stray := sorted(set(self.losses) - set(names)):
            raise ValueError(f"losses: saw {stray[0]!r}; expected some of the models {shown}")
        if self.draws != 1:
            raise ValueError(f"draws={self.draws}: nothing is drawn where nothing is trained; leave it out")
        if self.rank is not None and not self.rank.is_joint:
            known = SHIPPED_PROTOCOLS.names("pairwise")
            if self.rank.protocol not in known:
                raise ValueError(f"rank.protocol: saw {self.rank.protocol!r}; expected joint, {', '.join(known)}")
        return self

    @property
    def trains_zero(self) -> bool:
        """Nothing is trained."""
        return False

    @property
    def default_baseline(self) -> str:
        """The named model, else the first."""
        return self.baseline or self.models[0].name

    @property
    def given(self) -> tuple[GivenModel, ...]:
        return self.models

    @property
    def ranking(self) -> Ranking | None:
        """How the judge ranks them."""
        return self.rank

    @property
    def test_losses(self) -> Mapping[str, float]:
        """As the study gives them."""
        return self.losses

    def all_models(self, base_models: Sequence[str]) -> tuple[str, ...]:
        """Bases that an engine here loads."""
        return tuple(dict.fromkeys(model.base for model in self.models if model.base is not None))

    def check(self, study: Study) -> None:
        """Sets to ask, a judge where it ranks, and nothing that is about training."""
        super().check(study)
        if not any(part.purpose == "target" for part in study.evaluation.sets.values()):
            raise ValueError("evaluation.sets: saw none of purpose target; expected some, which models are compared on")
        if study.base_models:
            raise ValueError("base_models: the design models names its own in grid.models; set base_models: []")
        for field, value in (("decide", study.decide), ("ifs", study.ifs)):
            if value is not None:
                raise ValueError(f"{field}: is for studies that train; the design models trains nothing; leave it out")
        if self.rank is not None and JUDGE not in study.scorers:
            raise ValueError("grid.rank asks the judge, which is none of scorers; add it there, or set rank: null")

    def datasets(self, study: Study) -> tuple[str, ...]:
        """Of the evaluation sets; the instruction set where a tiny base reads it."""
        asked = [part.dataset for part in self.evaluation_sets(study)]
        tiny = study.tiny_base
        own = [study.data.instructions] if tiny is not None and not tiny.reads_toyworld else []
        return tuple(dict.fromkeys((*asked, *own)))

    def evaluation_sets(self, study: Study) -> tuple[AskedSet, ...]:
        """Those of `evaluation.sets`."""
        return own_sets(study)

    def cells(self, study: Study) -> Iterable[Cell]:
        """One for each model; none is trained."""
        sets = tuple(part.name for part in self.evaluation_sets(study))
        untrained = MixtureSpec(mode=study.mode)
        for model in self.models:
            yield Cell(
                base_model=model.base or "",
                task=MANY,
                num_target=0,
                draw=-1,
                training_seed=0,
                mixture=untrained,
                train=study.train,
                condition=model.name,
                evaluates=sets,
                given=model.name,
            )

    def notes(self) -> tuple[str, ...]:
        """Models as they are: what varies."""
        note = (
            f"Nothing was trained: {len(self.models)} models are compared as they are. Intervals are over test rows; "
            "what another training run of a model would give is not in them."
        )
        return (note,)
