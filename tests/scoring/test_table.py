from __future__ import annotations

import pytest

from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.records import Outcome, Rating
from assay.scoring.protocol import Scorer, ScoreRequest, ScorerSpec
from assay.scoring.table import SHIPPED_SCORERS, ScorerEntry
from support.shipped import make_scorer, scorer_names, scorer_spec


def test_the_local_scorers() -> None:
    assert set(scorer_names()) >= {
        "exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "bleu", "heuristic", "truth",
    }  # fmt: skip
    kinds = {name: scorer_spec(name).kind for name in ("exact_match", "heuristic", "truth")}
    assert kinds == {"exact_match": "reference", "heuristic": "heuristic", "truth": "human"}


@pytest.mark.parametrize(
    "name", ["exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "bleu", "heuristic", "truth"]
)
@pytest.mark.parametrize("mode", ["strict", "compat"])
def test_a_scorer_says_what_it_is(name: str, mode: str) -> None:
    scorer = make_scorer(name, mode)  # type: ignore[arg-type]
    assert isinstance(scorer, Scorer)
    assert (scorer.spec.name, scorer.spec.mode) == (name, mode)
    assert make_scorer(scorer.spec).spec == scorer.spec
    assert scorer.score([]) == []
    assert ScorerSpec.model_validate_json(scorer.spec.model_dump_json()) == scorer.spec


def test_mode_and_parameters_are_identity() -> None:
    specs = [scorer_spec("rouge1"), scorer_spec("rouge1", "compat"), scorer_spec("rouge1", use_stemmer=True)]
    assert len({fingerprint(spec) for spec in specs}) == 3


def test_unknown_names_list_the_known_ones() -> None:
    for call in (make_scorer, scorer_spec):
        with pytest.raises(ConfigError, match=r"saw 'rogue'; expected one of bertscore, bleu, exact_match"):
            call("rogue")
    with pytest.raises(
        ConfigError, match=r"scorer 'rouge1': saw the parameter 'stem'; expected one of \['use_stemmer'\]"
    ):
        scorer_spec("rouge1", stem=True)
    with pytest.raises(ConfigError, match="saw 'judge'"):
        make_scorer(ScorerSpec(name="judge", kind="judge"))


def test_a_scorer_can_be_added_once() -> None:
    class Length:
        def __init__(self, spec: ScorerSpec) -> None:
            self.spec = spec

        def score(self, batch: list[ScoreRequest]) -> list[Outcome]:
            return [Rating(min(1.0, len(request.prediction) / 10)) for request in batch]

    def spec(mode: str) -> ScorerSpec:
        return ScorerSpec(name="test_length", kind="reference")

    entry = ScorerEntry("test_length", spec, Length)  # type: ignore[arg-type]
    extended = SHIPPED_SCORERS.extended([entry])
    assert extended.make("test_length").score([]) == []
    assert "test_length" not in SHIPPED_SCORERS.names
    with pytest.raises(ConfigError, match="second definition"):
        extended.extended([ScorerEntry("test_length", spec, Length)])  # type: ignore[arg-type]
