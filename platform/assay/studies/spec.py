"""What a study is: one frozen value that says all that its numbers depend on, and apart from that what it runs on.

A builtin study is a Python value of this type (`builtin.py`); a YAML file is the same schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from assay.config import NOT_IDENTITY, Config, Later
from assay.generation.spec import LEAST_PROMPT, GenerationSpec
from assay.ifs.trial_spec import TrialIfsSpec
from assay.llm.endpoint import Reach, ReplySettings
from assay.llm.local_model import LocalModel
from assay.metaeval.study_tables.objective import Objective
from assay.metaeval.study_tables.options import TableOptions
from assay.mixtures.spec import LeakSpec
from assay.mixtures.synthesis import RandomLabels, SyntheticRows
from assay.records import INSTRUCTIONS, Mode
from assay.scoring.judges.prompting import parse_prompt
from assay.scoring.judges.protocols.repeats import MAX_REPEATS
from assay.scoring.judges.protocols.retries import MAX_RETRIES
from assay.scoring.judges.table import SHIPPED_PROTOCOLS
from assay.studies.deciding.spec import DecideSpec
from assay.studies.designs import Design
from assay.studies.designs.design import no_repeats
from assay.studies.dtypes import with_dtypes
from assay.studies.exits.spec import ExitsSpec, check_exits
from assay.studies.goal import EvaluationSetSpec, GoalSpec
from assay.studies.modes import MODES, in_other_mode, with_mode_rules
from assay.studies.prompt_file import PromptFile
from assay.studies.registry import Registry, make_registry, plugins_named, with_plugged_parts
from assay.studies.resources import StudyResources
from assay.studies.tracking_config import TrackingConfig
from assay.tasks.catalog import LOADERS
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.own import OwnTask
from assay.tasks.tagging import JudgeTags
from assay.training.spec import TrainSpec
from assay.training.tiny_base.spec import TinyBaseSpec

KNOWN_BY_CONTENT = ("model", "labels")
"""Parameters of scorers that name a folder or a file."""

SEEDS_AT_ZERO = (0, 1, 2)
"""Trainings of N = 0 where a study does not say: one would show no spread, and every comparison rests on it."""

JUDGE = "judge"
"""The name among `scorers` that stands for the LLM judge."""

TINY = "tiny"
"""The name among `base_models` of the base that the study trains itself, from `tiny_base`."""


Derived = Annotated[
    Annotated[SyntheticRows, Tag("@synthetic")]
    | Annotated[RandomLabels, Tag("@random_labels")]
    | Annotated[JudgeTags, Tag("@judge_tags")],
    Discriminator(lambda value: f"@{value.get('kind') if isinstance(value, Mapping) else value.kind}"),
]
"""A dataset made of another one, told apart by its `kind`."""


class DataSpec(Config):
    """The datasets of a study, by name."""

    root: Annotated[str | None, NOT_IDENTITY] = None
    """Folder that relative paths start from; files are known by their content."""
    instructions: str = "instructions"
    """Name of the dataset that every mixture starts from."""
    sources: Mapping[str, SourceSpec]
    """Name -> where its rows come from. A target task's dataset bears the task's name. One that no mixture and no
    evaluation set reads is not looked for, so `extends: s1` with one task asks for that task alone."""
    derived: Annotated[Mapping[str, Derived], Later({})] = Field(default_factory=dict)
    """Name -> how it is made of another dataset: rows that the writer writes, labels at random, the judge's tags."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all datasets."""
        return (*sorted(self.sources), *sorted(self.derived))

    @model_validator(mode="after")
    def _names_differ(self) -> DataSpec:
        if both := sorted(set(self.sources) & set(self.derived)):
            raise ValueError(f"saw {both[0]!r} among sources and derived; expected names to differ")
        return self


class EvaluationSpec(Config):
    """What every adapter answers."""

    target_rows: int | None = Field(None, ge=1)
    """Test rows of a target task; None takes them all. Of a category (design `hold_out`) at most so many."""
    instruction_rows: int = Field(100, ge=0)
    """Test rows of the instruction set, for forgetting; 0 leaves that question out."""
    instruction_max_new_tokens: int = Field(256, ge=1)
    """New tokens for an instruction row; a target task brings its own limit."""
    cross_category_rows: Annotated[int, Later(0)] = Field(0, ge=0)
    """Of design `hold_out`: test rows of each of the 12 categories (the paper: 20) that every model answers as the
    instruction set, so that what is gained on one category stands beside the others; 0 leaves that out."""
    max_new_tokens: Mapping[str, int] = Field(default_factory=dict)
    """Task -> new tokens, where the task's own limit does not fit."""
    sets: Annotated[Mapping[str, EvaluationSetSpec], Later({})] = Field(default_factory=dict)
    """Of design `mixture`: name -> test rows that every model answers, instead of the fields on rows above."""


class JudgeConfig(Reach, ReplySettings):
    """The LLM judge: what it is (identity) and how it is reached (no part of it)."""

    model: str = "rubric"
    """Model name sent to the endpoint, or with `transport=local` a model folder or a hub id. "rubric" is the embedded
    judge: rules, no network, no key."""
    protocol: str = "ifteval"
    """Pointwise protocol that asks the judge."""
    temperature: float | None = Field(0.1, ge=0, le=2)
    """Sampling temperature (paper: .1). None sends none: the endpoint's own, as reasoning models want it."""
    repeats: Annotated[int, Later(1)] = Field(1, ge=1, le=MAX_REPEATS)
    """Times that each answer is judged, at as many times the price: the score is their mean, and the table `variance`
    says how far one judgement lies from another. A judge that draws nothing (temperature 0) says the same again."""
    retry_unreadable: Annotated[int, Later(0)] = Field(0, ge=0, le=MAX_RETRIES)
    """Times that an answer is judged anew, as another draw, where the judge's reply could not be read, was cut or did
    not come; both replies are kept. A higher number goes on from a lower one."""
    prompt: Annotated[PromptFile | None, Later(None)] = None
    """A prompt of the study's own instead of a protocol that ships: in a study file the path of a file beside it.
    `protocol` is then a name for it."""
    scale: Annotated[tuple[float, float], Later((1.0, 5.0))] = (1.0, 5.0)
    """Lowest and highest rating that `prompt` asks for."""
    structured: Annotated[bool, Later(False)] = False
    """Ask for a JSON schema (`strict` only). An endpoint without structured output is asked without it; the same parser
    reads both."""
    endpoint: str | None = None
    """Name of the endpoint in the ledger; default: the host of `base_url`."""
    base_url: Annotated[str | None, NOT_IDENTITY] = None
    """An OpenAI-compatible endpoint; None starts the embedded judge for model "rubric", else https://api.openai.com/v1."""
    max_concurrency: Annotated[int, NOT_IDENTITY] = Field(64, ge=1)
    """Requests in flight over all workers."""
    timeout_s: Annotated[float, NOT_IDENTITY] = Field(60.0, gt=0)
    """For one attempt."""
    max_usd: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0)
    """Stop, to be continued, before all runs of this study have cost more; `--max-usd` takes its place."""

    @property
    def is_embedded(self) -> bool:
        """Whether the study starts its own judge server."""
        return self.base_url is None and self.model == "rubric" and self.kind.is_remote

    def identity(self) -> dict[str, Any]:
        """As the marks say; a prompt's text counts as it is parsed, without comments."""
        plain = super().identity()
        if self.prompt is not None:
            plain["prompt"] = parse_prompt(self.protocol, self.prompt.text).identity
        return plain


class StatisticsSpec(Config):
    """How uncertainty is computed."""

    resamples: int = Field(2000, ge=200)
    """Bootstrap resamples of every interval."""
    human: str = "heuristic"
    """Scorer that plays the human column in CIT and CAT. The toy studies know the truth; elsewhere this is a heuristic
    and is called one."""
    baseline: Annotated[str | None, Later(None)] = None
    """Arm that the leaderboard compares with; None: the N = 0 mixture of the arm's own series."""
    below_target: Annotated[int, Later(100)] = Field(100, ge=1)
    """CIT and CAT take runs with fewer target rows than this (paper: 100)."""
    meta_tasks: Annotated[tuple[str, ...] | None, Later(None)] = None
    """Tasks of CIT and CAT (the paper: six, without XSum). Those among them that are evaluated; None, or where none of
    them is: all that are."""
    tfa_tasks: Annotated[tuple[str, ...] | None, Later(None)] = None
    """Tasks of TFA (the paper: sst2, mnli, qnli), in the same way."""


class Study(Config):
    """A whole study."""

    name: str
    """Lower-case letters, digits, `-` and `_`; names the result folder and the MLflow experiment."""
    description: Annotated[str, NOT_IDENTITY] = ""
    mode: Mode = "strict"
    """`compat` does what the published study did, quirks included; `strict` does it right. Every result says which.
    It decides about leaks, target rows for validation, parsers and heuristics, and where the study does not say them
    `train.loss_on` and `generation.mode`. Hub datasets of the builtin studies are split by its rule."""
    plugins: Annotated[tuple[str, ...], NOT_IDENTITY] = ()
    """Modules that add what a study may name (docs/extending.md): in the study file's folder, or installed. Those
    that installed packages announce (entry points `assay.plugins`) need not be named."""
    study_folder: Annotated[str | None, NOT_IDENTITY] = Field(None, exclude=True)
    """Folder of the study file, for plug-ins. Never stored: who can write to a store does not say what a reader
    imports."""
    tasks: Annotated[Mapping[str, OwnTask], NOT_IDENTITY] = Field(default_factory=dict)
    """Tasks of the study's own by name, or what changes of a catalogued one."""
    data: DataSpec
    base_models: Annotated[tuple[str, ...], NOT_IDENTITY] = ()
    """Folders or Hugging Face ids of causal language models; "toy", which comes with Assay and knows the toy world; or
    "tiny", which the study trains itself. Several make an axis of the study. None in the design `models`, which names
    its own. They are known by their content, see `inputs.study_key`."""
    tiny_base: TinyBaseSpec | None = None
    """How the base named "tiny" is made."""
    leaks: Annotated[LeakSpec | None, Later(None)] = None
    """What happens to training rows that held-out rows repeat; None: they are left out in `strict`, and not looked for
    in `compat`. `{policy: refuse}` stops the study and shows the pairs."""
    grid: Design
    """What is compared; `design` says which kind of grid it is (default: target)."""
    training_seeds: tuple[int, ...] = ()
    """Seeds of initialisation and row order, an axis of its own. Default: each draw has the seed of its own number, so
    that the spread of draws is that of seeds too, at no price; in `compat` seed 0 alone."""
    training_seeds_at_zero: tuple[int, ...] = ()
    """Seeds for N = 0, which has no draws to vary. Default: `training_seeds`, filled up to three, as one run shows no
    spread; in `compat` no more than `training_seeds`."""
    train: TrainSpec = TrainSpec()
    """The recipe; its `seed` is set by the axis above, and in `compat` its `loss_on` is "all" where it is not given."""
    generation: GenerationSpec = GenerationSpec()
    """In `compat` its `mode` is "compat" where it is not given."""
    evaluation: EvaluationSpec = EvaluationSpec()
    ifs: Annotated[TrialIfsSpec | None, Later(None)] = None
    """IFS and ObjecQA while models train: each training is done in full, and ended by the rule. None: neither."""
    goal: Annotated[GoalSpec | None, Later(None)] = None
    """Of design `mixture`: which mixture is the best; None: the highest mean over the target sets."""
    decide: Annotated[DecideSpec | None, Later(None)] = None
    """Train in rounds and stop where the question is answered; None: the whole grid."""
    exits: Annotated[ExitsSpec | None, Later(None)] = None
    """End trainings that cannot win any more by their validation losses; None: all are trained to their end."""
    scorers: tuple[str, ...] = ("exact_match", "token_f1", "rouge1", "rougeL", "heuristic", "judge")
    """Scorers by name; "judge" asks the LLM judge. `assay score --list` shows them."""
    scorer_params: Annotated[Mapping[str, Mapping[str, str | int | float | bool | None]], Later({})] = Field(
        default_factory=dict
    )
    """Scorer -> its parameters that differ from the default, as in {bertscore: {model: FOLDER}, human: {labels: FILE}}.
    A model is a folder or a hub id; models and labels are known by their content."""
    judge: JudgeConfig = JudgeConfig()
    writer: Annotated[JudgeConfig | None, Later(None)] = None
    """The LLM that writes synthetic rows and tags instructions; None: the judge. Its `protocol` plays no part."""
    referee: Annotated[JudgeConfig | None, Later(None)] = None
    """Of design `preference`: the LLM that compares a model's answers with its start's, in both orders, by the strategy
    that `protocol` names (`vanilla`). Another one than labelled. None: win rates go by the human column alone."""
    error_rows: Annotated[int, Later(0)] = Field(0, ge=0, le=50)
    """Low-scoring answers of each task that the judge reads for patterns; 0 leaves that out."""
    statistics: StatisticsSpec = StatisticsSpec()
    resources: Annotated[StudyResources, NOT_IDENTITY] = StudyResources()
    tracking: Annotated[TrackingConfig, NOT_IDENTITY] = TrackingConfig()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
            raise ValueError("expected 1 to 64 of a-z, 0-9, '-' and '_', starting with a letter or digit")
        return name

    @field_validator("scorers", "base_models", "training_seeds", "training_seeds_at_zero")
    @classmethod
    def _distinct(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        return no_repeats("entries", values)

    @field_validator("tasks")
    @classmethod
    def _plain_task_names(cls, tasks: Mapping[str, OwnTask]) -> Mapping[str, OwnTask]:
        for name in tasks:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
                raise ValueError(f"saw the name {name!r}; expected 1 to 64 of letters, digits, '.', '-' and '_'")
        return tasks

    @model_validator(mode="before")
    @classmethod
    def _mode_decides(cls, data: Any) -> Any:
        return with_mode_rules(with_dtypes(with_plugged_parts(data))) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _hangs_together(self) -> Study:
        for source in self.data.sources.values():
            if source.task is not None:
                self.registry.tasks.get(source.task)
            if source.loader not in LOADERS:
                self.registry.tasks.reader(source.loader)
        for name in self.grid.datasets(self):
            if name not in self.data.names:
                raise ValueError(f"no dataset {name!r} in data.sources; it has {', '.join(self.data.names)}")
        self.grid.check(self)
        room = self.generation.max_model_len - LEAST_PROMPT
        for asked in self.grid.evaluation_sets(self):
            if asked.max_new_tokens > room:
                raise ValueError(
                    f"evaluation set {asked.name!r}: saw {asked.max_new_tokens} new tokens; expected at most {room}, "
                    f"generation.max_model_len less {LEAST_PROMPT}; ask for fewer, or raise generation.max_model_len"
                )
        for name in self.own_tasks:
            if self.registry.own[name].criteria and JUDGE not in self.scorers:
                raise ValueError(f"tasks.{name}.criteria are for the scorer judge, which is none of scorers; add it")
        if not self.base_models and not self.grid.given:
            raise ValueError("base_models: saw none; expected at least one folder, hub id or 'tiny'")
        if TINY in self.all_models and self.tiny_base is None:
            raise ValueError("base_models names 'tiny', which needs the field tiny_base")
        if self.statistics.human not in self.scorers:
            raise ValueError(f"statistics.human={self.statistics.human!r} must be one of scorers")
        known = {*self.registry.tasks.names, *self.target_sets}
        for field in ("meta_tasks", "tfa_tasks"):
            if unknown := sorted({*(getattr(self.statistics, field) or ())} - known):
                expected = ", ".join(sorted(known))
                raise ValueError(f"statistics.{field}: saw the task {unknown[0]!r}; expected some of {expected}")
        if stray := sorted(set(self.scorer_params) - set(self.scorers)):
            raise ValueError(f"scorer_params names {stray[0]!r}, which is none of scorers; add it there")
        if self.decide is not None and self.decide.scorer not in self.scorers:
            raise ValueError(f"decide.scorer={self.decide.scorer!r} must be one of scorers")
        if self.decide is not None and self.ifs is not None:
            raise ValueError("decide: a study of ifs trains everything twice, in one round; leave out one of them")
        check_exits(self)
        if self.judge.repeats > 1 and JUDGE not in self.scorers:
            raise ValueError(f"judge.repeats={self.judge.repeats} is for the scorer judge, which is none of scorers")
        if self.writer is not None and self.writer.prompt is not None:
            raise ValueError("writer.prompt: a writer has prompts of its own; leave it out")
        if not self.judge.scale[0] < self.judge.scale[1]:
            raise ValueError(
                f"judge.scale: saw {list(self.judge.scale)}; expected the lowest rating before the highest"
            )
        if self.judge.prompt is not None and self.judge.protocol in SHIPPED_PROTOCOLS.names():
            raise ValueError(f"judge.protocol: saw {self.judge.protocol!r} beside a prompt; expected a name of its own")
        if self.referee is not None and self.grid.preferences is None:
            raise ValueError("referee: it compares models that learnt from preferences; leave it out of other designs")
        if self.writer is not None and self.writer.repeats > 1:
            raise ValueError(f"writer.repeats={self.writer.repeats}: a writer is asked once; leave it out")
        if self.train.dtype == "float32" and self.generation.dtype not in ("float32", "bfloat16"):
            raise ValueError("generation.dtype must be float32 or bfloat16")
        return self

    @cached_property
    def registry(self) -> Registry:
        """What the study may name: tasks, scorers, heuristics, judge protocols, loaders, objectives, designs."""
        return make_registry(self.tasks, plugins_named(self.plugins, self.study_folder))

    @property
    def own_tasks(self) -> tuple[str, ...]:
        """Tasks of the study and of plug-ins that a dataset in use, or an evaluation set, belongs to."""
        used = {source.task or INSTRUCTIONS for source in self.used.sources.values()} | set(self.target_sets)
        return tuple(name for name in sorted(self.registry.own) if name in used)

    @property
    def used_plugins(self) -> dict[str, str]:
        """Identity of each plug-in that shapes a number, by name; a task's fields are identity by themselves."""
        heuristics = [self.registry.tasks.get(name).heuristic for name in self.own_tasks]
        protocol = self.judge.protocol if JUDGE in self.scorers else ""
        return self.registry.plugins_of(
            scorers=self.scorers,
            protocol=protocol,
            heuristics=heuristics,
            objectives=[recipe.objective.method for recipe in self.recipes] + [*self.grid.named_objectives],
            design=self.grid.design,
        )

    @property
    def recipes(self) -> tuple[TrainSpec, ...]:
        """How models are trained, by all that the study says of it; seeds left aside."""
        return self.grid.recipes(self.train)

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed; with another mode, what the mode decides changes with it."""
        mode = changes.get("mode", self.mode)
        plain = self.model_dump()
        fields = {**(in_other_mode(plain, mode) if mode in MODES else plain), "study_folder": self.study_folder}
        return type(self).model_validate({**fields, **changes})

    @property
    def used(self) -> DataSpec:
        """The datasets that the study reads, and what those are made of. The others say nothing, and may be absent."""
        read: set[str] = set()
        waiting = list(self.grid.datasets(self))
        while waiting:
            name = waiting.pop()
            if name not in read:
                read.add(name)
                waiting += [self.data.derived[name].of] if name in self.data.derived else []
        kept = {
            part: {name: value for name, value in getattr(self.data, part).items() if name in read}
            for part in ("sources", "derived")
        }
        return self.data.replace(**kept)

    @property
    def all_models(self) -> tuple[str, ...]:
        """Every model that something is trained into: the bases, and the tuned models that S2 starts from."""
        return self.grid.all_models(self.base_models)

    @property
    def target_sets(self) -> tuple[str, ...]:
        """Evaluation sets that show what was learnt: all but those of forgetting."""
        return tuple(part.name for part in self.grid.evaluation_sets(self) if part.purpose == "target")

    def table_options(self, key: str) -> TableOptions:
        """What decides about the result tables; `key` is the study's and seeds every resampling."""
        said = self.statistics
        return TableOptions(
            human=said.human,
            seed_key=key,
            baseline=self.baseline,
            resamples=said.resamples,
            below_target=self.below_target,
            objective=self.objective,
            meta_tasks=self._evaluated(said.meta_tasks),
            tfa_tasks=self._evaluated(said.tfa_tasks),
        )

    def _evaluated(self, tasks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return tuple(task for task in tasks or () if task in self.target_sets) or None

    @property
    def baseline(self) -> str | None:
        """Arm that others are compared with; None: N = 0 of the arm's own series."""
        return self.statistics.baseline or self.grid.default_baseline

    @property
    def decided_by(self) -> DecideSpec | None:
        """`decide`; where it names no baseline and the design does, against that one."""
        own = self.grid.default_baseline
        if self.decide is None or own is None or self.decide.baseline != DecideSpec.model_fields["baseline"].default:
            return self.decide
        return self.decide.replace(baseline=own)

    @property
    def below_target(self) -> float:
        """CIT and CAT take runs with fewer target rows than this; all where N counts something else."""
        return self.statistics.below_target if self.grid.counts_targets else math.inf

    @property
    def objective(self) -> Objective | None:
        """What makes one mixture better than another; None in designs whose tables say it by task."""
        if not self.grid.asks_own_sets:
            return None
        goal = self.goal or GoalSpec()
        asked = self.grid.evaluation_sets(self)
        targets = [part for part in asked if part.purpose == "target"]
        return Objective(
            scorer=self.goal_scorer,
            weights={part.name: part.weight if goal.weights == "sets" else 1.0 for part in targets},
            baseline=self.baseline or "",
            forgetting=tuple(part.name for part in asked if part.purpose == "forgetting"),
            most_lost=None if goal.constraint is None else goal.constraint.forgetting,
        )

    @property
    def goal_scorer(self) -> str:
        """Scorer of the objective: as the goal says, else the judge where there is one, else the human column."""
        named = None if self.goal is None else self.goal.scorer
        return named or (JUDGE if JUDGE in self.scorers else self.statistics.human)

    @property
    def has_series(self) -> bool:
        """Whether curves of one task differ in something beside N: in source, starting point, or how they end."""
        return self.grid.has_series or self.ifs is not None

    @property
    def asks_judge(self) -> bool:
        """Whether anything is put before the LLM judge: predictions, or the preference answers of trials."""
        return JUDGE in self.scorers or self.grid.asks_judge or (self.ifs is not None and self.ifs.objecqa is not None)

    @property
    def local_judge(self) -> LocalModel | None:
        """How the judge is loaded, where it is asked and is a model of these machines."""
        return self.judge.local if self.asks_judge and not self.judge.kind.is_remote else None

    @property
    def wants_gpu(self) -> bool:
        """Whether a stage, or the judge, asks for GPUs."""
        return self.resources.wants_gpu or (self.local_judge is not None and self.local_judge.gpus > 0)

    @property
    def seeds_at_zero(self) -> tuple[int, ...]:
        """Training seeds of the N = 0 cells."""
        if self.training_seeds_at_zero:
            return self.training_seeds_at_zero
        if self.mode == "compat":
            return self.training_seeds or (0,)
        if len(self.training_seeds) >= len(SEEDS_AT_ZERO):
            return self.training_seeds
        return tuple(dict.fromkeys((*self.training_seeds, *SEEDS_AT_ZERO)))[: len(SEEDS_AT_ZERO)]

    def seeds_of_draw(self, draw: int) -> tuple[int, ...]:
        """Training seeds of the cells with this draw's rows."""
        return self.training_seeds or ((draw,) if self.mode == "strict" else (0,))

    def _seeds_identity(self) -> dict[str, object]:
        """The seeds that are trained, as they were written when none was the default."""
        seeds: object = list(self.training_seeds)
        if not self.training_seeds:
            seeds = [0] if self.mode == "compat" or self.grid.draws == 1 else "draw"
        at_zero = list(self.training_seeds_at_zero)
        if not at_zero and self.grid.trains_zero and list(self.seeds_at_zero) != seeds:
            at_zero = list(self.seeds_at_zero)
        return {"training_seeds": seeds, "training_seeds_at_zero": at_zero}

    def identity(self) -> dict[str, Any]:
        """All that its numbers depend on and that is no input file, which is known by its content.

        As the marks say, but for what another field decides: datasets that nothing reads say nothing; seeds are those
        that are trained; the design counts by the mode; files of scorers, tasks and plug-ins count where they are used.
        """
        plain = super().identity()
        plain["data"] = self.used.identity()
        plain |= self._seeds_identity()
        plain["grid"] = self.grid.identity_in(self.mode)
        for params in plain.get("scorer_params", {}).values():
            for name in KNOWN_BY_CONTENT:
                params.pop(name, None)
        if self.own_tasks:
            plain["tasks"] = {name: self.registry.own[name].identity() for name in self.own_tasks}
        if self.used_plugins:
            plain["plugins"] = self.used_plugins
        return plain
