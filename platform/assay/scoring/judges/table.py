"""Judge protocols by name.

Adding one is one file with a class (`protocols.prompted` brings most of it), its prompt folder, and a line at
the end of this file. What ships is one immutable value; a study with protocols of its own has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
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
from assay.scoring.named import check_names_differ

Kind = Literal["pointwise", "pairwise", "joint", "dialogue", "dialogue_pair"]
"""What an instance is: `PointwiseInstance`, `PairInstance`, `JointInstance`, `JudgedDialogue`, `DialoguePair`."""


@dataclass(frozen=True)
class ProtocolEntry:
    """A protocol of the table."""

    name: str
    """In studies and flags; lower case."""
    kind: Kind
    """What its instances are."""
    make: Callable[..., Any]
    """Called with `mode` and the parameters of a study; raises ConfigError or TypeError for bad ones."""


@dataclass(frozen=True)
class Protocols:
    """Judge protocols by name, in the order of the table. Immutable."""

    entries: tuple[ProtocolEntry, ...]

    def names(self, kind: Kind | None = None) -> tuple[str, ...]:
        """Of all protocols, or of one kind."""
        return tuple(entry.name for entry in self.entries if kind in (None, entry.kind))

    def kind(self, name: str) -> Kind:
        """What the instances of this protocol are.

        Raises:
            ConfigError: no such protocol; lists the known ones.
        """
        return self._entry(name).kind

    def make(self, name: str, mode: Mode = "strict", **params: Any) -> JudgeProtocol[Any, Any]:
        """A protocol by name; both spellings of LLMBar's strategies are accepted. `params` are the class's own fields.

        Raises:
            ConfigError: no such protocol, or it has no such parameter.
        """
        entry = self._entry(name)
        if isinstance(params.get("prompts_dir"), str):
            params["prompts_dir"] = Path(params["prompts_dir"])
        try:
            return cast("JudgeProtocol[Any, Any]", entry.make(mode=mode, **params))
        except TypeError as error:
            raise ConfigError(f"judge protocol {name!r}: saw parameters {sorted(params)}; {error}; fix them") from None

    def pointwise(
        self, name: str, mode: Mode = "strict", **params: Any
    ) -> JudgeProtocol[PointwiseInstance, PointwiseJudgement]:
        """`make` for protocols on `PointwiseInstance`.

        Raises:
            ConfigError: as there, or the protocol is of another kind.
        """
        return self._of_kind("pointwise", name, mode, params)

    def pairwise(
        self,
        name: str,
        mode: Mode = "strict",
        *,
        prompts_dir: Path | None = None,
        patterns: Mapping[str, Patterns] | None = None,
        **params: Any,
    ) -> JudgeProtocol[PairInstance, PairVerdict]:
        """`make` for protocols on `PairInstance`; see `pairwise.patterns_from_configs` for `patterns`.

        Raises:
            ConfigError: as there, or the protocol is of another kind.
        """
        if prompts_dir is not None:
            params["prompts_dir"] = prompts_dir
        if patterns:
            params["patterns"] = patterns
        return self._of_kind("pairwise", name, mode, params)

    def joint(self, mode: Mode = "strict", **params: Any) -> JudgeProtocol[JointInstance, JointJudgement]:
        """`make("joint", ...)`, typed."""
        return self._of_kind("joint", "joint", mode, params)

    def extended(self, further: Iterable[ProtocolEntry]) -> Protocols:
        """These and further ones.

        Raises:
            ConfigError: a name is taken.
        """
        added = (*self.entries, *further)
        check_names_differ("judge protocol", (entry.name for entry in added))
        return Protocols(added)

    def _of_kind(self, kind: Kind, name: str, mode: Mode, params: Mapping[str, Any]) -> JudgeProtocol[Any, Any]:
        if self.kind(name) != kind:
            raise ConfigError(
                f"judge protocol {name!r}: it is {self.kind(name)}; expected one of {', '.join(self.names(kind))}"
            )
        return self.make(name, mode, **params)

    def _entry(self, name: str) -> ProtocolEntry:
        wanted = name.strip().lower()
        if wanted not in self._by_name:
            try:
                wanted = get_strategy(name).name
            except ConfigError:
                known = ", ".join(self.names())
                raise ConfigError(
                    f"judge protocol {name!r}: unknown; expected one of {known}; take one of these"
                ) from None
        return self._by_name[wanted]

    @cached_property
    def _by_name(self) -> dict[str, ProtocolEntry]:
        return {entry.name: entry for entry in self.entries}


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
        return GEvalJudge(dimension=DIMENSIONS[dimension], mode=mode, **params)

    return make


SHIPPED_PROTOCOLS = Protocols(
    (
        *(
            ProtocolEntry(name, "pointwise", _ifteval_maker(variant))
            for name, variant in (
                ("ifteval", "two_responses"),
                ("ifteval_swapped", "swapped"),
                ("ifteval_reference_shown", "reference_shown"),
                ("ifteval_alone", "alone"),
                ("reference_free", "alone"),
            )
        ),
        *(ProtocolEntry(f"geval_{name}", "pointwise", _geval_maker(name)) for name in DIMENSIONS),
        ProtocolEntry("objecqa", "pointwise", objecqa_labeler),
        ProtocolEntry("category", "pointwise", category_labeler),
        *(ProtocolEntry(name, "pairwise", _pairwise_maker(name)) for name in STRATEGIES),
        ProtocolEntry("chateval", "pairwise", _chateval_maker),
        ProtocolEntry("faireval", "pairwise", FairEvalJudge),
        ProtocolEntry("joint", "joint", JointJudge),
        ProtocolEntry("mt_bench_single", "dialogue", MtBenchSingle),
        ProtocolEntry("mt_bench_pair", "dialogue_pair", MtBenchPair),
    )
)
"""What Assay brings."""
