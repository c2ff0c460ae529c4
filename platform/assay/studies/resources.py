"""What a study runs on: speed, never meaning; and whether the cluster can give it."""

from __future__ import annotations

from pydantic import Field

from assay.cluster.config import ClusterResources
from assay.errors import ResourceError
from assay.generation.spec import GenerationResources
from assay.llm.local_model import LocalModel
from assay.scoring.jobs import ScoringResources
from assay.training.spec import TrainResources


class StudyResources(ClusterResources):
    """What a study runs on: speed, never meaning."""

    training: TrainResources = TrainResources()
    generation: GenerationResources = GenerationResources()
    scoring: ScoringResources = ScoringResources()
    wave_size: int = Field(512, ge=1)
    """Trainings whose adapters are generated and scored together before the next wave is trained; their judge may work
    while it trains."""

    @property
    def wants_gpu(self) -> bool:
        """Whether a stage asks for GPUs."""
        return bool(
            self.training.gpus_per_worker or self.generation.gpus_per_engine or self.scoring.gpus_per_model_worker
        )


def check_resources(resources: StudyResources, judge: LocalModel | None = None) -> None:
    """Refuse at once what no node could ever give, instead of waiting for it.

    Args:
        resources: the study's.
        judge: how its judge is loaded, where that is a model of these machines.

    Raises:
        ResourceError: one line that names the stage, what it asks for and what there is.
    """
    from assay.cluster.ray_nodes import capacity

    there = capacity()
    for stage, cpus, gpus in (
        ("training", resources.training.cpus_per_worker, resources.training.gpus_per_worker),
        ("generation", resources.generation.cpus_per_engine, resources.generation.gpus_per_engine),
        ("scoring", resources.scoring.cpus_per_worker, 0),
        ("scoring", resources.scoring.cpus_per_model_worker, resources.scoring.gpus_per_model_worker),
        ("scoring beside judge.local.gpus", resources.scoring.cpus_per_worker, judge.gpus if judge else 0),
    ):
        if there.room_for({"CPU": cpus, "GPU": gpus}) == 0:
            raise ResourceError(
                f"resources.{stage}: asks for {cpus:g} CPU and {gpus:g} GPU at once; the largest node has "
                f"{there.most('CPU'):g} CPU and {there.most('GPU'):g} GPU; lower the request or join a cluster that "
                "has them (resources.ray_address)"
            )
