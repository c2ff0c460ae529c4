"""The builtin studies, as Python values.

`quickstart` is the embedded default: a toy world whose truth is known, the tiny base that comes with Assay, a
rule-based judge. The others are the studies of IFTEval (arXiv 2310.14103) on its four 7B bases, of which jobs/studies/
holds versions that run on two cores, and those of `early_stopping.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.generation.spec import GenerationSpec
from assay.mixtures.synthesis import RandomLabels, SyntheticRows
from assay.records import Mode
from assay.studies.builtin.early_stopping import early_stopping, early_stopping_small
from assay.studies.builtin.parts import (
    ALPACA,
    GPU_RESOURCES,
    TOY_GENERATION,
    TOY_JUDGE,
    TOY_NEW_TOKENS,
    TOY_RESOURCES,
    TOY_TRAIN,
)
from assay.studies.designs import Design, HoldOutGrid, SourceGrid, TargetGrid, TransferGrid
from assay.studies.spec import (
    DataSpec,
    Derived,
    EvaluationSpec,
    JudgeConfig,
    StatisticsSpec,
    Study,
)
from assay.tasks.datasets.sources import hub_source, toy_source
from assay.tasks.tagging import JudgeTags
from assay.training.spec import TrainSpec

TOY_TASKS = ("toy_sentiment", "toy_arithmetic", "toy_entities", "toy_question")

S1_TASKS = ("mnli", "qnli", "stsb", "sst2", "conll", "squadv2", "xsum")
META_TASKS = tuple(task for task in S1_TASKS if task != "xsum")
"""Tasks of the paper's CIT and CAT."""
TFA_TASKS = ("sst2", "mnli", "qnli")
"""Tasks of the paper's TFA."""
S1_SIZES = (0, 10, 25, 50, 100, 200, 500, 1000)
SOURCE_TASKS = ("sst2", "mnli", "conll")
"""Tasks whose rows an LLM can write after a few examples."""
S1_BASES = ("huggyllama/llama-7b", "EleutherAI/pythia-6.9b", "bigscience/bloom-7b1", "tiiuae/falcon-7b")
ALL_SCORERS = (
    *("exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "bleu", "bertscore", "sbert"),
    *("reward", "reward_soft", "heuristic", "judge"),
)
REWARD_MODEL = "OpenAssistant/reward-model-deberta-v3-large-v2"
"""OpenAssistant's, as in the paper, which does not say which of them."""
S2_INSTRUCT = (
    "lmsys/vicuna-7b-v1.3",
    "allenai/open-instruct-pythia-6.9b-tulu",
    "bigscience/bloomz-7b1",
    "tiiuae/falcon-7b-instruct",
)
"""Tuned models of the same four families, in the order of S1_BASES."""

LONGEST_ROW, LONGEST_PROMPT, LONGEST_SEQUENCE = 1536, 1536, 2048
"""Tokens, in `strict`: of 1,067 XSum rows 466 are over 512 tokens of SmolLM2's tokenizer and 31 over 1,536; the bases
have 2,048 positions."""

TAGGED = JudgeTags(of="instructions", judge_rows=5000)
"""Instructions with categories, for what the paper reports by category."""


def quickstart() -> Study:
    """Four toy tasks x N x three draws on a tiny base: minutes on two cores, nothing from outside.

    The rows of `toy_entities` have the answers of other rows, as in a file joined wrongly: a mixture that does harm.
    """
    toy = {task: toy_source(task, train=1024, validation=60, test=100) for task in TOY_TASKS}
    instructions = toy_source(train=200, validation=24, test=60)
    return Study(
        name="quickstart",
        description="How many rows of a target task does an instruction mixture need, and which scorer can tell? "
        "The rows of toy_entities have the answers of other rows, as in a file that was joined wrongly.",
        data=DataSpec(
            sources={"instructions": instructions, **toy},
            derived={"toy_entities_misjoined": RandomLabels(of="toy_entities")},
        ),
        base_models=("toy",),
        grid=TargetGrid(
            tasks=TOY_TASKS,
            sizes=(0, 16, 64, 512),
            draws=3,
            validation_rows=24,
            rows_from={"toy_entities": "toy_entities_misjoined"},
        ),
        training_seeds_at_zero=(0, 1, 2),
        train=TOY_TRAIN,
        generation=TOY_GENERATION,
        evaluation=EvaluationSpec(target_rows=100, instruction_rows=60, instruction_max_new_tokens=TOY_NEW_TOKENS),
        scorers=("exact_match", "token_f1", "rouge1", "rougeL", "heuristic", "judge", "truth"),
        judge=TOY_JUDGE,
        statistics=StatisticsSpec(human="truth"),
        resources=TOY_RESOURCES,
    )


def s1() -> Study:
    """IFTEval's S1 on its four 7B bases: 7 tasks x 8 sizes x 4 draws, priced before it is run."""
    return _paper_study(
        "s1",
        "IFTEval S1: N rows of a target task in a general instruction mixture, on four 7B base models.",
        TargetGrid(tasks=S1_TASKS, sizes=S1_SIZES, draws=4, validation_rows=1000),
    )


def s1_sources() -> Study:
    """The paper's figure 3: human, synthetic and randomly labelled rows, and synthetic rows before human ones."""
    derived: dict[str, Derived] = {}
    for task in SOURCE_TASKS:
        derived[f"{task}_synthetic"] = SyntheticRows(of=task, rows=1000, shown=8, per_call=10)
        derived[f"{task}_random"] = RandomLabels(of=f"{task}_synthetic")
    return _paper_study(
        "s1_sources",
        "IFTEval S1 with human (H), synthetic (S) and randomly labelled (R) rows, and synthetic before human (S+H).",
        SourceGrid(tasks=SOURCE_TASKS, sizes=S1_SIZES, draws=4, validation_rows=1000),
        derived,
    )


def forgetting() -> Study:
    """The paper's table 5: the whole Alpaca test split with 0 and with 1,000 rows of each task in the mixture."""
    study = _paper_study(
        "forgetting",
        "Scores on the Alpaca test split with and without 1,000 rows of a target task in the mixture.",
        TargetGrid(tasks=S1_TASKS, sizes=(0, 1000), draws=4, validation_rows=1000),
    )
    return study.replace(evaluation=study.evaluation.replace(instruction_rows=5000), training_seeds_at_zero=(0, 1, 2))


def s2() -> Study:
    """The paper's figures 4 and 6: N target rows alone, into base models, our tuned ones, and other people's."""
    return _paper_study(
        "s2",
        "IFTEval S2: N target rows alone, from a base model, our instruction adapter, or another tuned model.",
        TransferGrid(
            tasks=S1_TASKS,
            sizes=S1_SIZES,
            draws=4,
            starts=("base", "merged", "stacked", "instruct"),
            instruct_models=dict(zip(S1_BASES, S2_INSTRUCT, strict=True)),
        ),
    )


def hold_one_out() -> Study:
    """The synthetic study: each of the 12 categories held out, and 0 to 1,000 of its rows added back."""
    study = _paper_study(
        "hold_one_out",
        "IFTEval's synthetic study: Alpaca without one category of instructions, and N rows of it added back.",
        HoldOutGrid(sizes=(0, 10, 100, 1000), draws=1, validation_rows=1000),
        {"tagged": TAGGED},
        tasks=(),
    )
    return study.replace(
        data=study.data.replace(instructions="tagged"),
        scorers=tuple(name for name in ALL_SCORERS if name != "heuristic"),  # no rule reads an open instruction
        statistics=study.statistics.replace(human="judge"),
        scorer_params={name: {"model": REWARD_MODEL} for name in ("reward", "reward_soft")},
    )


def scorer_benchmark() -> Study:
    """Tables 1 to 4: every scorer against the human column, inside tasks and over them."""
    study = _paper_study(
        "scorer_benchmark",
        "Which scorer orders models as people do, inside tasks and across them: CIT, CAT and TFA of every scorer.",
        TargetGrid(tasks=S1_TASKS, sizes=(0, 10, 25, 50, 1000), draws=4, validation_rows=1000),
        {"tagged": TAGGED},
    )
    return study.replace(
        data=study.data.replace(instructions="tagged"),
        training_seeds_at_zero=(0, 1, 2),
        scorers=ALL_SCORERS,
        scorer_params={name: {"model": REWARD_MODEL} for name in ("reward", "reward_soft")},
    )


def _paper_study(
    name: str,
    description: str,
    grid: Design,
    derived: Mapping[str, Derived] | None = None,
    tasks: tuple[str, ...] = S1_TASKS,
) -> Study:
    """What the paper's studies share: Alpaca-GPT4, the hub's tasks, four 7B bases, its recipe, a paid judge."""
    return Study(
        name=name,
        description=description,
        data=DataSpec(
            sources={"instructions": ALPACA, **{task: hub_source(task) for task in tasks}}, derived=derived or {}
        ),
        base_models=S1_BASES,
        grid=grid,
        train=TrainSpec(dtype="bfloat16", max_length=LONGEST_ROW),
        generation=GenerationSpec(dtype="bfloat16", max_prompt_tokens=LONGEST_PROMPT, max_model_len=LONGEST_SEQUENCE),
        evaluation=EvaluationSpec(target_rows=500, instruction_rows=240),
        judge=JudgeConfig(model="gpt-4o"),
        error_rows=20,
        statistics=StatisticsSpec(meta_tasks=META_TASKS, tfa_tasks=TFA_TASKS) if tasks else StatisticsSpec(),
        resources=GPU_RESOURCES,
    )


def builtin(name: str, mode: Mode | None = None) -> Study:
    """A builtin study, in another mode where one is named: `compat` has the shorter rows of the published study."""
    study = BUILTIN[name]()
    if mode is None or mode == study.mode:
        return study
    turned = study.replace(mode=mode)
    if mode == "compat" and study.train.max_length == LONGEST_ROW:
        published = GenerationSpec()
        limits = {"max_prompt_tokens": published.max_prompt_tokens, "max_model_len": published.max_model_len}
        turned = turned.replace(
            train=turned.train.replace(max_length=TrainSpec().max_length),
            generation=turned.generation.replace(**limits),
        )
    return turned


BUILTIN: Mapping[str, Callable[[], Study]] = {
    "quickstart": quickstart,
    "s1": s1,
    "s1_sources": s1_sources,
    "s2": s2,
    "forgetting": forgetting,
    "hold_one_out": hold_one_out,
    "scorer_benchmark": scorer_benchmark,
    "early_stopping": early_stopping,
    "early_stopping_small": early_stopping_small,
}
"""Builtin studies by name."""
