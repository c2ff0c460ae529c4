"""What pairs rest on: who labels them, and what given files hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assay.errors import DataError
from assay.llm.endpoint import EndpointSpec
from assay.preference.principles import read_principles
from assay.preference.sources import GivenPairs, LabelledAnswers, PairsSpec, PrinciplePairs
from assay.scoring.jobs import judge_spec
from assay.scoring.protocol import ScorerSpec
from assay.studies.preferences.comparing import judge_as_scorer, start_as_scorer
from assay.studies.preferences.wanted import PreferenceInputs
from assay.studies.scores import local_scorers, study_protocol
from assay.studies.spec import JUDGE, Study
from assay.tasks.datasets.preferences import given_pairs_key


def preference_inputs(study: Study, endpoint: EndpointSpec) -> PreferenceInputs:
    """Labels and given pairs of a study; both empty where its design has no pairs.

    Raises:
        InputError: a file or a model is missing.
    """
    if study.grid.preferences is None:
        return PreferenceInputs()
    sources = study.grid.preferences.pairs
    return PreferenceInputs(_labels(study, sources, endpoint), _given(study, sources), _principles(study, sources))


def _labels(study: Study, sources: Mapping[str, PairsSpec], endpoint: EndpointSpec) -> dict[str, ScorerSpec]:
    labelled = [spec for spec in sources.values() if isinstance(spec, LabelledAnswers)]
    names = {spec.label for spec in labelled}
    found = {spec.name: spec for spec in local_scorers(study) if spec.name in names}
    if JUDGE in names:
        found[JUDGE] = judge_spec(JUDGE, study_protocol(study), endpoint)
    for spec in labelled:
        if spec.is_judged_by_start:
            found[spec.scorer] = start_as_scorer(spec, study.mode)
        elif spec.is_compared:
            found[spec.scorer] = judge_as_scorer(spec, study.mode, endpoint)
    return found


def _given(study: Study, sources: Mapping[str, PairsSpec]) -> dict[str, str]:
    names = {spec.dataset for spec in sources.values() if isinstance(spec, GivenPairs)}
    return {name: given_pairs_key(study.data.sources[name], study.data.root) for name in sorted(names)}


def _principles(study: Study, sources: Mapping[str, PairsSpec]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in sorted({spec.file for spec in sources.values() if isinstance(spec, PrinciplePairs)}):
        path = Path(study.data.root or ".").expanduser() / name
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{name}: cannot be read ({type(error).__name__}); expected principles, one a line, below data.root; "
                "check the path"
            ) from None
        found[name] = read_principles(text, name)
    return found
