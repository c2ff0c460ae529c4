"""What a study prepares for evaluations inside its trials: tone classifier, prompts, hooks, judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.ifs.objecqa_labels import KIND, ObjecqaLabels
from assay.ifs.trial_hook import IfsHooks, prompt_set
from assay.ifs.trial_spec import evaluation_keys
from assay.scoring.jobs import judge_spec
from assay.scoring.judges.protocols.labelers import objecqa_labeler
from assay.tasks.datasets.loaders import dataset_key, materialise_dataset
from assay.tone.artifact import KIND as TONE_KIND
from assay.tone.artifact import store_tone

if TYPE_CHECKING:
    from assay.ifs.trial_spec import TrialIfsSpec
    from assay.llm.endpoint import EndpointSpec
    from assay.store import Store
    from assay.studies.artifacts import StudyArtifacts
    from assay.studies.spec import Study


@dataclass(frozen=True)
class InsideTrials:
    """All that trials need to evaluate themselves."""

    spec: TrialIfsSpec
    tone: str
    """Key of the tone classifier."""
    hooks: IfsHooks
    """Goes to the workers."""
    datasets: tuple[str, ...]
    """Keys of the dialogues that prompts and classifier come from."""

    def references(self, labels: ObjecqaLabels | None) -> dict[str, list[str]]:
        """Artifacts by kind that only evaluations inside trials want."""
        found = {TONE_KIND: [self.tone]}
        return found if labels is None else {**found, KIND: sorted(labels.keys.values())}


def prepare_inside(study: Study, store: Store) -> InsideTrials | None:
    """Train the tone classifier and store the prompts' dialogues where they are missing; None without `study.ifs`.

    Raises:
        InputError: dialogues cannot be read, or are too few.
    """
    spec = study.ifs
    if spec is None:
        return None
    root = study.data.root
    tone = store_tone(store, spec.tone, root)
    prompts = materialise_dataset(store, spec.prompts, root).key
    prompt_set(store, spec, prompts)  # too few are told before anything is trained
    stops = {key: stops for stops, key in evaluation_keys(spec, root, study.train.prompt).items()}
    datasets = (prompts, dataset_key(spec.tone.source, root))
    return InsideTrials(spec, tone, IfsHooks(store, spec, tone, prompts, stops), datasets)


def objecqa_labels(study: Study, plan: StudyArtifacts, endpoint: EndpointSpec) -> ObjecqaLabels | None:
    """The ObjecQA labels that a study wants; None where it asks no preference questions."""
    if study.ifs is None or study.ifs.objecqa is None:
        return None
    adapters = tuple(job.key for job in plan.trainings if job.evaluation_key is not None)
    return ObjecqaLabels(judge_spec(KIND, objecqa_labeler(study.mode), endpoint), adapters)
