"""Judges that choose a class: ObjecQA's Subjective or Objective, and the 13 categories of instructions.

Sources: AlShikh et al. 2023 (arXiv 2307.03692); Faysse et al. 2023 (arXiv 2310.14103), A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.llm.requests import Message, Sampling
from assay.records import Mode
from assay.scoring.judges.asking import read_step, readers_version
from assay.scoring.judges.calls import JudgeCall, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.parsing import parse_class
from assay.scoring.judges.prompting import SHIPPED, fill, load_prompt
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.structured import MORE_TOKENS, check_structured, class_format, identity_of
from assay.tasks.catalog import INSTRUCTION_CATEGORIES, OTHER

LABELERS_PROMPTS = SHIPPED / "labelers"


@dataclass(frozen=True)
class Labeler:
    """Chooses one of `classes` for an instance: `run` takes a `PointwiseInstance`, returns a `PointwiseJudgement`.

    `label` is the class; `score` is 1.0 for the classes in `positive` and 0.0 for the others, so that a mean of
    scores is a share.
    """

    name: str
    file: str
    classes: tuple[str, ...]
    positive: frozenset[str]
    prompt_slot: str
    """Slot that takes the instance's prompt."""
    response_slot: str
    """Slot that takes the instance's response."""
    mode: Mode = "strict"
    max_tokens: int = 16
    max_reasks: int = 1
    prompts_dir: Path = LABELERS_PROMPTS
    structured: bool = False
    """Ask for a JSON schema (endpoints with structured output, `strict` only); the same parser reads the reply."""

    def __post_init__(self) -> None:
        check_structured(self.name, self.mode, self.structured)

    def identity(self) -> dict[str, object]:
        """All that shapes the label apart from the model."""
        return {
            "protocol": self.name,
            "mode": self.mode,
            "version": readers_version(self.mode, is_published=False),
            "classes": list(self.classes),
            "positive": sorted(self.positive),
            "max_tokens": self.max_tokens,
            "max_reasks": self.max_reasks if self.mode == "strict" else 0,
            "prompt": load_prompt(self.prompts_dir, self.file, self._slots).identity,
            **identity_of(self.structured),
        }

    @property
    def _slots(self) -> frozenset[str]:
        return frozenset({self.prompt_slot, self.response_slot})

    def messages(self, instance: PointwiseInstance) -> tuple[Message, ...]:
        """What is sent."""
        values = {self.prompt_slot: instance.prompt, self.response_slot: instance.response}
        fenced = self._slots if self.mode == "strict" else frozenset[str]()
        return fill(load_prompt(self.prompts_dir, self.file, self._slots), values, fenced=fenced)

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """One call."""
        sampling = Sampling(
            temperature=0.0,
            max_tokens=self.max_tokens + MORE_TOKENS * self.structured,
            response_format=class_format(self.classes) if self.structured else None,
        )
        call = JudgeCall("label", self.messages(instance), sampling)
        reasks = self.max_reasks if self.mode == "strict" else 0
        (reading,) = yield from read_step([call], self._parse, reasks, mode=self.mode)
        if reading.value is None:
            return PointwiseJudgement(None, 0.0, 1.0, reading.status, reading.exchanges)
        score = 1.0 if reading.value in self.positive else 0.0
        return PointwiseJudgement(score, 0.0, 1.0, reading.status, reading.exchanges, {}, reading.value)

    def _parse(self, text: str) -> str | None:
        return parse_class(text, self.classes)


def objecqa_labeler(mode: Mode = "strict", prompts_dir: Path = LABELERS_PROMPTS, structured: bool = False) -> Labeler:
    """ObjecQA: prompt = question, response = the model's answer; score 1 is Objective."""
    return Labeler(
        "objecqa",
        "ObjecQA.txt",
        ("Subjective", "Objective"),
        frozenset({"Objective"}),
        "question",
        "answer",
        mode,
        prompts_dir=prompts_dir,
        structured=structured,
    )


def category_labeler(mode: Mode = "strict", prompts_dir: Path = LABELERS_PROMPTS, structured: bool = False) -> Labeler:
    """Instruction categories: prompt = instruction, response = its input; `label` is the category."""
    return Labeler(
        "category",
        "Category.txt",
        (*INSTRUCTION_CATEGORIES, OTHER),
        frozenset(INSTRUCTION_CATEGORIES),
        "instruction",
        "input",
        mode,
        prompts_dir=prompts_dir,
        structured=structured,
    )
