"""Design `preference`: methods that learn from preferences, compared on equal terms.

All arms start from one model, learn from the same pairs, and get the same number of tuning points, which are chosen on
prompts that are not reported. Best of n trains nothing and is the frontier that the others are held against.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from assay.metaeval.study_tables.frame import MANY
from assay.mixtures.designs import INSTRUCTION_DRAW, Instructions, instructions_alone
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.preference.sources import (
    JUDGE,
    PAIRWISE,
    REPORTED_SET,
    START,
    GivenPairs,
    LabelledAnswers,
    PairsAsked,
    PairSources,
    SampledPairs,
    StrongerPairs,
)
from assay.records import TEST, VALIDATION
from assay.scoring.judges.protocols.pairwise import STRATEGIES
from assay.studies.designs.asked import AskedSet, instruction_sets, task_set
from assay.studies.designs.cell import Cell, Tuned
from assay.studies.designs.design import DesignBase, by_rules_of, no_repeats, stackable
from assay.training.objectives.shipped import SHIPPED
from assay.training.spec import TrainSpec

if TYPE_CHECKING:
    from assay.studies.spec import Study

BEST_OF_N, EXPERT_ITERATION = "best_of_n", "expert_iteration"
OBJECTIVES: Mapping[str, str] = {EXPERT_ITERATION: "sft_chosen"}
"""Methods that are a training of another name on rows of their own -> its objective."""
COMPARING = tuple(name for name, strategy in STRATEGIES.items() if strategy.reply != "rating")
"""Strategies that compare two answers."""
TUNING_SET = "tuning"
"""Evaluation set of the prompts on which tuning points are chosen."""


class Point(NamedTuple):
    """One tuning point of a method."""

    number: int
    settings: tuple[tuple[str, float], ...]
    """Field of the recipe or of the objective -> value."""

    @property
    def label(self) -> str:
        """What people call it."""
        return ", ".join(f"{name} {value:g}" for name, value in self.settings)


class PreferenceGrid(DesignBase):
    """Methods x pairs x tuning points x seeds, from one start."""

    has_series: ClassVar[bool] = True
    paper_places: ClassVar[Mapping[str, str]] = {}

    design: Literal["preference"] = "preference"
    start: Literal["base", "merged", "stacked", "instruct"] = "merged"
    """The model that every method starts from: the base; our instruction adapter, written into the base or served
    beside the new one; or another model."""
    instruct_models: Mapping[str, str] = Field(default_factory=dict)
    """Base model -> the tuned model of its family, for "instruct"."""
    start_rows: int | None = Field(None, ge=1)
    """Instruction rows that the start is tuned on; None takes the whole train split."""
    start_train: TrainSpec | None = None
    """Recipe of the start; None: the study's `train` with the objective sft."""
    start_seed: int = Field(0, ge=0)
    prompts: str = ""
    """Dataset whose prompts are answered: train rows for pairs, validation rows to choose tuning points, test rows to
    report; empty: the instruction set."""
    num_prompts: int = Field(200, ge=2)
    """Train rows whose prompts are sampled; never rows that the start was tuned on."""
    tuning_prompts: int = Field(50, ge=2)
    """Validation rows on which tuning points are chosen."""
    reported_prompts: int = Field(100, ge=2)
    """Test rows that are reported."""
    tasks: tuple[str, ...] = ()
    """Tasks whose test rows show what was forgotten, beside the instruction set."""
    pairs: PairSources = Field(min_length=1)
    """Name -> where preferences come from; several make an axis."""
    methods: tuple[str, ...] = Field(min_length=1)
    """Objectives by name, those of plug-ins among them, and "best_of_n"."""
    tuning: Mapping[str, tuple[float, ...]] = Field(min_length=1)
    """`learning_rate` or a field of objectives (`beta`) -> its value at each point; lists of one length, read across. A
    method takes the fields that it has."""
    method_tuning: Mapping[str, Mapping[str, tuple[float, ...]]] = Field(default_factory=dict)
    """Method -> fields whose values differ from `tuning` for it, as many. A plug-in's method takes `learning_rate` and
    the fields that it is given here."""
    seeds: int = Field(5, ge=1)
    """Trainings of each point."""
    rounds: int = Field(3, ge=2, le=20)
    """Of expert iteration: sample from what the last round trained, pick the best by the label, train the start on it;
    the first round samples the start."""
    frontier: int = Field(16, ge=2, le=256)
    """Answers of the start to each reported prompt, from which best of n follows for every n."""

    @model_validator(mode="after")
    def _fits_together(self) -> PreferenceGrid:
        if self.draws != 1:
            raise ValueError(f"draws={self.draws}: the design preference samples once; vary seeds instead")
        if (self.start == "instruct") != bool(self.instruct_models):
            raise ValueError("start is 'instruct' exactly where instruct_models names a model for it")
        no_repeats("methods", self.methods)
        if EXPERT_ITERATION in self.methods and not all(isinstance(spec, SampledPairs) for spec in self.pairs.values()):
            raise ValueError(f"methods: {EXPERT_ITERATION} samples in rounds; expected pairs of the kind sampled alone")
        return self

    def _check_points(self, method: str) -> None:
        points = self.points(method)
        if method != BEST_OF_N and len({point.settings for point in points}) < len(points):
            raise ValueError(
                f"tuning: saw two equal points of {method}, which has not every field; expected as many different ones "
                "as other methods have; give it values of its own in method_tuning"
            )

    @property
    def is_tuned(self) -> bool:
        """Whether the start is trained on instructions here."""
        return self.start in ("merged", "stacked")

    @property
    def num_points(self) -> int:
        """Tuning points of each method."""
        return len(next(iter(self.tuning.values())))

    @property
    def trains_zero(self) -> bool:
        """The start is not trained on preferences."""
        return False

    @property
    def asks_judge(self) -> bool:
        """Whether the judge compares answers, be it among the scorers or not."""
        return any(isinstance(spec, LabelledAnswers) and spec.label == PAIRWISE for spec in self.pairs.values())

    @property
    def preferences(self) -> PreferenceGrid:
        return self

    @property
    def trained_methods(self) -> tuple[str, ...]:
        """Methods that train something."""
        return tuple(method for method in self.methods if method != BEST_OF_N)

    def points(self, method: str) -> list[Point]:
        """The method's tuning points.

        Raises:
            ValueError: lists of different length.
        """
        own = self.method_tuning.get(method, {})
        shipped = SHIPPED.get(OBJECTIVES.get(method, method))
        fields = own if shipped is None or method == BEST_OF_N else shipped.model_fields
        values = {**self.tuning, **own}
        for name, listed in values.items():
            if len(listed) != self.num_points:
                raise ValueError(
                    f"tuning.{name}: saw {len(listed)} values; expected {self.num_points}, as many as others"
                )
        known = {name: listed for name, listed in values.items() if name == "learning_rate" or name in fields}
        return [
            Point(number, tuple((name, known[name][number]) for name in sorted(known)))
            for number in range(self.num_points)
        ]

    @property
    def named_objectives(self) -> tuple[str, ...]:
        """What its methods minimise."""
        return tuple(OBJECTIVES.get(method, method) for method in self.trained_methods)

    def check(self, study: Study) -> None:
        """Whether methods, labels, sampling and datasets fit."""
        super().check(study)
        self._check_methods(study)
        if study.ifs is not None or study.decide is not None:
            raise ValueError("ifs and decide are for studies of mixtures; leave them out of the design preference")
        if study.mode != "strict":
            raise ValueError("mode: the design preference knows strict alone")
        if study.generation.temperature != 1.0:
            raise ValueError(
                f"generation.temperature={study.generation.temperature:g}: expected 1 in the design preference, whose "
                "divergences are means over a model's own answers"
            )
        if any(recipe.method == "full" for recipe in self.recipes(study.train)):
            raise ValueError("train.method 'full': the design preference compares adapters; expected 'lora'")
        if self.start == "stacked":
            stackable("grid.start_train", self.recipes(study.train))
        if sorted(self.instruct_models) != (sorted(study.base_models) if self.start == "instruct" else []):
            raise ValueError("grid.instruct_models: expected a model for each of base_models")
        if self.is_tuned and self.start_rows is None and self.prompt_dataset(study) == study.data.instructions:
            raise ValueError("grid.start_rows: expected a number where prompts are rows of the instruction set, too")
        for name, spec in self.pairs.items():
            if isinstance(spec, LabelledAnswers) and not spec.is_compared and spec.label not in study.scorers:
                raise ValueError(f"grid.pairs.{name}.label={spec.label!r} must be one of scorers, or pairwise or self")
            if isinstance(spec, LabelledAnswers) and spec.is_compared and spec.strategy not in COMPARING:
                raise ValueError(
                    f"grid.pairs.{name}.strategy={spec.strategy!r}: expected one of {', '.join(COMPARING)}"
                )
            if isinstance(spec, GivenPairs):
                source = study.data.sources.get(spec.dataset)
                if source is None or source.preference == "none":
                    raise ValueError(
                        f"grid.pairs.{name}.dataset={spec.dataset!r}: expected a source of data.sources with its field "
                        "preference set"
                    )
        labels = {spec.label for spec in self.pairs.values() if isinstance(spec, LabelledAnswers)}
        self._check_referee(study, labels)
        if labels == {study.statistics.human} == set(study.scorers):
            raise ValueError("scorers: expected one beside the label's own, or over-optimisation cannot show")

    def _check_methods(self, study: Study) -> None:
        objectives = study.registry.objectives
        learning = {name for name in objectives.names if objectives.learns_from_pairs(name)}
        for method in self.methods:
            if method not in (known := {BEST_OF_N, *OBJECTIVES, *learning}):
                raise ValueError(f"grid.methods: saw {method!r}; expected some of {', '.join(sorted(known))}")
            self._check_points(method)
        if stray := sorted(set(self.method_tuning) - set(self.methods)):
            raise ValueError(f"grid.method_tuning names {stray[0]!r}, which is none of methods")

    def _check_referee(self, study: Study, labels: set[str]) -> None:
        referee, judge = study.referee, study.judge
        if referee is None:
            return
        if referee.protocol not in COMPARING:
            raise ValueError(f"referee.protocol={referee.protocol!r}: expected one of {', '.join(COMPARING)}")
        if referee.prompt is not None or referee.repeats > 1 or referee.structured:
            raise ValueError("referee: prompt, repeats and structured are for judges that rate; leave them out")
        if labels & {JUDGE, PAIRWISE} and (referee.model, referee.base_url) == (judge.model, judge.base_url):
            raise ValueError(f"referee.model={referee.model!r}: saw the judge that labels; expected another one")

    def all_models(self, base_models: Sequence[str]) -> tuple[str, ...]:
        """The bases, or the tuned models that all arms start from, and stronger ones that are asked."""
        starts = [self.instruct_models[name] if self.start == "instruct" else name for name in base_models]
        winners = [spec.winner for spec in self.pairs.values() if isinstance(spec, StrongerPairs)]
        return tuple(dict.fromkeys((*starts, *(name for name in winners if name != START))))

    def recipes(self, train: TrainSpec) -> tuple[TrainSpec, ...]:
        """The study's, and the start's."""
        return (train,) if self.start_train is None else (train, self.start_train)

    def prompt_dataset(self, study: Study) -> str:
        """The study's name of the dataset of prompts."""
        return self.prompts or study.data.instructions

    def datasets(self, study: Study) -> tuple[str, ...]:
        """The instruction set, the prompts and the tasks; given pairs are read apart."""
        return tuple(dict.fromkeys((study.data.instructions, self.prompt_dataset(study), *self.tasks)))

    def evaluation_sets(self, study: Study) -> tuple[AskedSet, ...]:
        """Prompts to choose by, prompts to report, and what shows forgetting."""
        dataset, tokens = self.prompt_dataset(study), study.evaluation.instruction_max_new_tokens
        forgetting = instruction_sets(study) if dataset != study.data.instructions else ()
        return (
            AskedSet(
                TUNING_SET, dataset, self.tuning_prompts, tokens, "grid.tuning_prompts", "tuning", split=VALIDATION
            ),
            AskedSet(REPORTED_SET, dataset, self.reported_prompts, tokens, "grid.reported_prompts", split=TEST),
            *(task_set(study, task) for task in self.tasks),
            *forgetting,
        )

    def notes(self) -> tuple[str, ...]:
        """How arms were chosen, and that nothing else was."""
        if self.num_points == 1:
            return ("Every method had one tuning point: none was chosen.",)
        note = (
            f"Every method had {self.num_points} tuning points; the one with the best mean score by its label on the "
            f"{self.tuning_prompts} prompts of the set {TUNING_SET!r} is reported, on other prompts."
        )
        return (note,)

    def cells(self, study: Study) -> Iterable[Cell]:
        """Base model, the start, then pairs, method, point, seed."""
        tuned = self._tuned(study)
        evaluates = tuple(part.name for part in self.evaluation_sets(study))
        prompts = by_rules_of(study, self._prompt_rows(study))
        untrained = MixtureSpec(mode=study.mode)
        for name in study.base_models:
            model = self.instruct_models[name] if self.start == "instruct" else name
            yield Cell(
                model, MANY, 0, 0, 0, untrained, study.train, START, "", evaluates, tuned, name
            )  # fmt: skip
            for asked, arm, recipe in self._arms(study):
                for seed in range(self.seeds):
                    yield Cell(
                        model,
                        MANY,
                        self.num_prompts,
                        -1,
                        seed,
                        prompts,
                        recipe.replace(seed=seed),
                        arm,
                        arm,
                        evaluates,
                        tuned,
                        name,
                        pairs=asked,
                    )

    def _arms(self, study: Study) -> Iterator[tuple[PairsAsked, str, TrainSpec]]:
        for source, spec in self.pairs.items():
            for method in self.trained_methods:
                for point in self.points(method):
                    rounds = self.rounds if method == EXPERT_ITERATION else 1
                    yield (
                        PairsAsked(source, spec, rounds),
                        arm_name(method, source, point),
                        recipe_of(study, method, point),
                    )

    def _tuned(self, study: Study) -> Tuned | None:
        """What the start is tuned on, and how."""
        if not self.is_tuned:
            return None
        held_out = tuple(name for name in self.datasets(study) if name != study.data.instructions)
        mixture = instructions_alone(self._instructions(study), mode=study.mode, held_out=held_out)
        recipe = (self.start_train or study.train).replace(seed=self.start_seed, objective="sft")
        return Tuned(by_rules_of(study, mixture), recipe, is_stacked=self.start == "stacked")

    def _instructions(self, study: Study) -> Instructions:
        return Instructions(study.data.instructions, self.start_rows, 0, self.seed)

    def _prompt_rows(self, study: Study) -> MixtureSpec:
        """The start's rows as those of training, and the prompts as those of validation: so that they never meet."""
        dataset = self.prompt_dataset(study)
        own = dataset == study.data.instructions and self.is_tuned
        draw = INSTRUCTION_DRAW + self.seed
        prompts = ComponentSpec(name="prompts", dataset=dataset, count=self.num_prompts, draw=draw)
        return MixtureSpec(
            train=(self._instructions(study).part("train"),) if own else (),
            validation=(prompts,),
            mode=study.mode,
            held_out=tuple(name for name in self.datasets(study) if name != dataset),
        )


def arm_name(method: str, source: str, point: Point) -> str:
    """What an arm is called: method, pairs and tuning point."""
    return f"{method} on {source} ({point.label})"


def recipe_of(study: Study, method: str, point: Point) -> TrainSpec:
    """The study's recipe with the method's objective at a tuning point."""
    settings = dict(point.settings)
    rate = settings.pop("learning_rate", study.train.learning_rate)
    objective = study.registry.objectives.read({"method": OBJECTIVES.get(method, method), **settings})
    return study.train.replace(learning_rate=rate, objective=objective)
