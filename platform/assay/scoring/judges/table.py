"""Judge protocols by name.

Adding one is one file with a class that has `name`, `mode`, `identity` and `run`, its prompt folder, and a line at
the end of this file (or a call of `register_protocol` from outside).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from assay.errors import ConfigError
from assay.records import Mode
from assay.scoring.judges.calls import JudgeProtocol
from assay.scoring.judges.judgements import JointJudgement, PairVerdict, PointwiseJudgement
from assay.scoring.judges.parsing.choices import Patterns
from assay.scoring.judges.protocols.chateval import ChatEvalJudge
from assay.scoring.judges.protocols.faireval import FairEvalJudge
from assay.scoring.judges.protocols.geval import DIMENSIONS, GEvalJudge
from assay.scoring.judges.protocols.joint import JointInstance, JointJudge
from assay.scoring.judges.protocols.labelers import category_labeler, objecqa_labeler
from assay.scoring.judges.protocols.mt_bench import MtBenchPair, MtBenchSingle
from assay.scoring.judges.protocols.pairwise import STRATEGIES, PairInstance, get_strategy, make_pairwise_judge
from assay.scoring.judges.protocols.pointwise import IftevalJudge, PointwiseInstance

Kind = Literal["pointwise", "pairwise", "joint", "dialogue", "dialogue_pair"]
"""What an instance is: `PointwiseInstance`, `PairInstance`, `JointInstance`, `Dialogue`, `DialoguePair`."""

_MAKERS: dict[str, tuple[Kind, Callable[..., Any]]] = {}


def register_protocol(name: str, kind: Kind, make: Callable[..., Any]) -> None:
    """Add a protocol.

    Args:
        name: in studies and flags; lower case.
        kind: what its instances are.
        make: called with `mode` and the parameters of a study; raises ConfigError or TypeError for bad ones.

    Raises:
        ConfigError: the name is taken.
    """
    if name in _MAKERS:
        raise ConfigError(f"judge protocol {name!r}: saw a second definition; expected one; give yours another name")
    _MAKERS[name] = (kind, make)


def protocol_names(kind: Kind | None = None) -> tuple[str, ...]:
    """Names of all protocols, or of one kind, in the order of the table."""
    return tuple(name for name, (its_kind, _) in _MAKERS.items() if kind in (None, its_kind))


def protocol_kind(name: str) -> Kind:
    """What the instances of this protocol are.

    Raises:
        ConfigError: no such protocol; lists the known ones.
    """
    return _lookup(name)[0]


def make_protocol(name: str, mode: Mode = "strict", **params: Any) -> JudgeProtocol[Any, Any]:
    """A protocol by name; both spellings of LLMBar's strategies are accepted. `params` are the class's own fields.

    Raises:
        ConfigError: no such protocol, or it has no such parameter.
    """
    _, make = _lookup(name)
    if isinstance(params.get("prompts_dir"), str):
        params["prompts_dir"] = Path(params["prompts_dir"])
    try:
        return cast("JudgeProtocol[Any, Any]", make(mode=mode, **params))
    except TypeError as error:
        raise ConfigError(f"judge protocol {name!r}: saw parameters {sorted(params)}; {error}; fix them") from None


def make_pointwise(
    name: str, mode: Mode = "strict", **params: Any
) -> JudgeProtocol[PointwiseInstance, PointwiseJudgement]:
    """`make_protocol` for protocols on `PointwiseInstance`.

    Raises:
        ConfigError: as there, or the protocol is of another kind.
    """
    return _of_kind("pointwise", name, mode, params)


def make_pairwise(
    name: str,
    mode: Mode = "strict",
    *,
    prompts_dir: Path | None = None,
    patterns: Mapping[str, Patterns] | None = None,
    **params: Any,
) -> JudgeProtocol[PairInstance, PairVerdict]:
    """`make_protocol` for protocols on `PairInstance`; see `pairwise.patterns_from_configs` for `patterns`.

    Raises:
        ConfigError: as there, or the protocol is of another kind.
    """
    if prompts_dir is not None:
        params["prompts_dir"] = prompts_dir
    if patterns:
        params["patterns"] = patterns
    return _of_kind("pairwise", name, mode, params)


def make_joint(mode: Mode = "strict", **params: Any) -> JudgeProtocol[JointInstance, JointJudgement]:
    """`make_protocol("joint", ...)`, typed."""
    return _of_kind("joint", "joint", mode, params)


def _of_kind(kind: Kind, name: str, mode: Mode, params: Mapping[str, Any]) -> JudgeProtocol[Any, Any]:
    if protocol_kind(name) != kind:
        raise ConfigError(
            f"judge protocol {name!r}: it is {protocol_kind(name)}; expected one of {', '.join(protocol_names(kind))}"
        )
    return make_protocol(name, mode, **params)


def _lookup(name: str) -> tuple[Kind, Callable[..., Any]]:
    wanted = name.strip().lower()
    if wanted not in _MAKERS:
        try:
            wanted = get_strategy(name).name
        except ConfigError:
            known = ", ".join(_MAKERS)
            raise ConfigError(f"judge protocol {name!r}: unknown; expected one of {known}; take one of these") from None
    return _MAKERS[wanted]


def _pairwise_maker(strategy: str) -> Callable[..., Any]:
    def make(
        mode: Mode = "strict", prompts_dir: Path | None = None, patterns: Mapping[str, Patterns] | None = None
    ) -> object:
        return make_pairwise_judge(strategy, mode, prompts_dir=prompts_dir, patterns=patterns)

    return make


def _chateval_maker(mode: Mode = "strict", patterns: Mapping[str, Patterns] | None = None, **params: Any) -> object:
    return ChatEvalJudge(mode=mode, patterns=(patterns or {}).get("compare"), **params)


def _ifteval_maker(variant: str) -> Callable[..., Any]:
    def make(mode: Mode = "strict", **params: Any) -> object:
        return IftevalJudge(**{"mode": mode, "variant": variant, **params})

    return make


def _geval_maker(dimension: str) -> Callable[..., Any]:
    def make(mode: Mode = "strict", **params: Any) -> object:
        return GEvalJudge(DIMENSIONS[dimension], mode=mode, **params)

    return make


for _name, _variant in (
    ("ifteval", "two_responses"),
    ("ifteval_swapped", "swapped"),
    ("ifteval_reference_shown", "reference_shown"),
    ("ifteval_alone", "alone"),
    ("reference_free", "alone"),
):
    register_protocol(_name, "pointwise", _ifteval_maker(_variant))
for _dimension in DIMENSIONS:
    register_protocol(f"geval_{_dimension}", "pointwise", _geval_maker(_dimension))
register_protocol("objecqa", "pointwise", objecqa_labeler)
register_protocol("category", "pointwise", category_labeler)
for _strategy in STRATEGIES:
    register_protocol(_strategy, "pairwise", _pairwise_maker(_strategy))
register_protocol("chateval", "pairwise", _chateval_maker)
register_protocol("faireval", "pairwise", FairEvalJudge)
register_protocol("joint", "joint", JointJudge)
register_protocol("mt_bench_single", "dialogue", MtBenchSingle)
register_protocol("mt_bench_pair", "dialogue_pair", MtBenchPair)
