"""Where a dataset comes from: the specification that a study states, and the content that names it. No reading here.

A dataset's key covers how its rows are read and WHAT the files hold, never where they lie: data moved to another
folder keeps its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from assay.config import NOT_IDENTITY, Config, Later, validate
from assay.errors import ConfigError
from assay.records import INSTRUCTIONS, Mode
from assay.tasks.catalog import LOADERS, SHIPPED_TASKS, Tasks
from assay.tasks.datasets.converters import Converter

EXAMPLE_FIELDS = ("id", "split", "category", "instruction", "input", "output")
"""What `columns` may map, with the names that files use by default."""


PreferenceFormat = Literal["none", "trl", "hh", "ultrafeedback", "shp", "llama_factory"]
"""How the rows of a preference file are laid out, see preference_formats.py."""

CONVERSATIONS = ("sharegpt", "messages", "openassistant")
"""Loaders whose rows are conversations."""


class SourceSpec(Config):
    """Which rows, from where, read how. Every field but `path` and `name` is part of the dataset's key."""

    loader: str
    """"jsonl": one object a line (or a CSV or Parquet file), fields named by `columns`. "alpaca": the same without
    `columns`, a JSON list allowed.
    "sharegpt": `conversations` of from/value. "messages": `messages` of role/content. "openassistant": message trees,
    or flat messages. "hub": a Hugging Face dataset. Another name: what a plug-in reads, rows as of jsonl."""
    name: str = ""
    """A label for messages to people; default: the task, else "instructions"."""
    licence: Annotated[str, NOT_IDENTITY] = ""
    """Under which licence the rows may be used, for the card of a model that learnt from them."""
    path: Annotated[str | None, NOT_IDENTITY] = None
    """File or folder below the data root. A folder holds train, validation and test as .jsonl, .json, .csv, .tsv, each
    also .gz, or .parquet."""
    hub: str | None = None
    """Hub name (`nyu-mll/glue`) or a local folder that `datasets` wrote, below the data root."""
    hub_config: str | None = None
    """Configuration of the hub dataset (`sst2`)."""
    hub_revision: str = "main"
    """Branch, tag or commit; the key holds the commit that it stands for."""
    hub_splits: Mapping[str, str] = Field(default_factory=dict)
    """Our split -> theirs, as in {"test": "validation"} for GLUE; default: the same names."""
    columns: Mapping[str, str] = Field(default_factory=dict)
    """Field (id, split, category, instruction, input, output) -> column; `a.b.0` reaches into objects and lists. The
    last three may also be patterns with {column} in them. An id of "" is made from content."""
    values: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """Field -> its raw value as text -> what to read instead, as in {"output": {"0": "negative"}}."""
    convert: Converter = "none"
    """"stsb", "conll", "scitldr": make input and output of the hub's own columns, see converters.py."""
    meta_columns: tuple[str, ...] = ()
    """Further columns kept in `meta_json`. References (`references`, `answers`) are always kept."""
    task: str | None = None
    """Task that the rows belong to (fills in a missing instruction); None: an instruction set. Whether it exists is
    for those to say who know the study's tasks."""
    conversation: Annotated[Literal["none", "sharegpt", "messages", "history"], Later("none")] = "none"
    """Hub: rows are conversations in a column `conversations` or `messages`, read as those loaders read theirs; or rows
    of instruction and output with earlier turns in a column `history`."""
    preference: Annotated[PreferenceFormat, Later("none")] = "none"
    """Loaders jsonl and hub: rows are preferences, laid out as TRL, Anthropic's HH, UltraFeedback, SHP or LLaMA-Factory
    have them, for the design `preference`. Their splits go by the prompt alone, so all pairs of one are on one side."""
    split_rule: Literal["files", "strict", "compat"] = "files"
    """"files": by file name or the row's `split`. "strict", "compat": by content, 80/10/10, see splits.py. "strict"
    goes by a conversation's first exchange, so that all of it is on one side."""
    turns: Literal["first", "last", "each"] = "last"
    """Of a conversation: one example for its first or last answer, or one for each answer."""
    languages: tuple[str, ...] = ()
    """OpenAssistant: conversations whose first message is in one of these languages ("en"); empty takes all."""
    on_unanswered: Literal["error", "skip"] = "error"
    """What to do with a conversation that has no answered user turn."""
    limit: int | None = Field(None, ge=1)
    """At most so many rows of each split, the first ones."""
    max_chars: int = Field(1_000_000, ge=1)
    """Most characters that a row may hold in all; a longer row is an error, never cut."""
    seed: int = 0
    """Toyworld: seed of the world's rows."""
    num_train: int = Field(1000, ge=0)
    """Toyworld: training rows; an instruction set has as many of each category as the count allows."""
    num_validation: int = Field(100, ge=0)
    """Toyworld: validation rows."""
    num_test: int = Field(100, ge=0)
    """Toyworld: test rows."""
    unfinished: float = Field(0.0, ge=0, le=1)
    """Toyworld: share of training rows whose instruction breaks off and is answered all the same."""
    wordy: Annotated[float, Later(0.0)] = Field(0.0, ge=0, le=1)
    """Toyworld: share of training rows whose answer begins with sentences that add nothing, so that lengths differ."""

    @field_validator("path", "hub")
    @classmethod
    def _stay_below_root(cls, path: str | None) -> str | None:
        if path is None:
            return None
        parts = PurePosixPath(path.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or path[1:2] == ":" or not path.strip() or "\0" in path:
            raise ValueError("expected a path below the data root, without '..'; set data.root to the folder above it")
        return path

    @model_validator(mode="after")
    def _fits_loader(self) -> SourceSpec:
        if self.loader == "hub" and not self.hub:
            raise ValueError("loader 'hub' needs `hub`, the name of a Hugging Face dataset")
        if self.loader not in ("toyworld", "hub") and not self.path:
            raise ValueError(f"loader {self.loader!r} needs `path`, a file or folder below the data root")
        if self.conversation != "none" and self.loader != "hub":
            raise ValueError("conversation is for the loader hub; name the loader itself sharegpt or messages")
        if self.preference != "none" and self.loader not in ("jsonl", "hub"):
            raise ValueError("preference is for the loaders jsonl and hub, which read any file; name one of them")
        unknown = (set(self.columns) | set(self.values)) - set(EXAMPLE_FIELDS)
        if unknown:
            raise ValueError(f"columns: saw {sorted(unknown)}; expected some of {', '.join(EXAMPLE_FIELDS)}")
        return self

    @property
    def is_conversation(self) -> bool:
        """Whether rows are conversations."""
        return self.loader in CONVERSATIONS or self.conversation in ("sharegpt", "messages")

    @property
    def label(self) -> str:
        """What people call this dataset."""
        return self.name or self.task or INSTRUCTIONS

    def dataset_identity(self, tasks: Tasks = SHIPPED_TASKS) -> dict[str, object]:
        """What goes into the dataset's key beside the content: the fields that matter to this loader.

        Raises:
            ConfigError: a task that is none of `tasks`.
        """
        if self.loader == "toyworld":
            kept = {"loader", "task", "seed", "num_train", "num_validation", "num_test", "limit", "wordy"}
            if self.unfinished:  # a later field of datasets, though not of studies
                kept.add("unfinished")
            return {name: value for name, value in self.identity().items() if name in kept}
        skip = {"name", "seed", "num_train", "num_validation", "num_test", "unfinished", "wordy"}
        if self.loader == "hub":
            skip |= {"hub", "hub_revision"}  # the content says it: a commit, or hashes of local files
        else:
            skip |= {"hub", "hub_config", "hub_revision", "hub_splits"}
        if not self.is_conversation:
            skip |= {"turns", "on_unanswered"}
        if self.loader != "openassistant":
            skip |= {"languages"}
        if self.convert == "none":
            skip |= {"convert"}
        fields: dict[str, object] = {name: value for name, value in self.identity().items() if name not in skip}
        if self.task is not None:
            fields["instruction"] = tasks.get(self.task).instruction
        if self.loader not in LOADERS:
            fields["reader"] = tasks.reader(self.loader).identity
        return fields


_HUB_SOURCES: dict[str, dict[str, object]] = {
    "sst2": {
        "hub": "nyu-mll/glue",
        "hub_config": "sst2",
        "columns": {"id": "", "input": "Sentence: {sentence}", "output": "label"},
    },
    "mnli": {
        "hub": "nyu-mll/glue",
        "hub_config": "mnli",
        "hub_splits": {"train": "train", "validation": "validation_matched"},
        "columns": {"id": "", "input": "Premise: {premise}\nHypothesis: {hypothesis}", "output": "label"},
        "values": {"output": {"entailment": "Entailment", "neutral": "Neutral", "contradiction": "Contradiction"}},
    },
    "qnli": {
        "hub": "nyu-mll/glue",
        "hub_config": "qnli",
        "columns": {"id": "", "input": "Question: {question}\nContext: {sentence}", "output": "label"},
        "values": {"output": {"entailment": "answerable", "not_entailment": "unanswerable"}},
    },
    "squadv2": {
        "hub": "rajpurkar/squad_v2",
        "columns": {"input": "Context: {context}\nQuestion: {question}", "output": "answers.text.0"},
        "values": {"output": {"": "unanswerable"}},
    },
    "stsb": {"hub": "nyu-mll/glue", "hub_config": "stsb", "columns": {"id": ""}, "convert": "stsb"},
    "conll": {
        "hub": "eriktks/conll2003",
        "hub_revision": "refs/convert/parquet",  # the dataset itself is a script, which is never run
        "hub_splits": {"train": "train", "validation": "validation", "test": "test"},
        "columns": {"id": ""},
        "convert": "conll",
    },
    "scitldr": {
        "hub": "allenai/scitldr",
        "hub_config": "Abstract",
        "hub_revision": "refs/convert/parquet",
        "hub_splits": {"train": "train", "validation": "validation", "test": "test"},
        "columns": {"id": ""},
        "convert": "scitldr",
    },
    "xsum": {
        "hub": "EdinburghNLP/xsum",
        "columns": {"input": "Article: {document}", "output": "summary"},
    },
}


def toy_source(
    task: str | None = None,
    *,
    train: int,
    validation: int,
    test: int,
    seed: int = 0,
    unfinished: float = 0.0,
    name: str = "",
) -> SourceSpec:
    """Rows of the toy world: of a task, or where none is named an instruction set."""
    return SourceSpec(
        loader="toyworld",
        task=task,
        num_train=train,
        num_validation=validation,
        num_test=test,
        seed=seed,
        unfinished=unfinished,
        name=name,
    )


def hub_source(task: str, *, revision: str | None = None, split_rule: Mode = "strict") -> SourceSpec:
    """The source of a task of the study on the Hugging Face hub: labelled splits pooled and split anew by content.

    Pooling is what the study did: the hub's own test splits of GLUE and SQuAD carry no labels.

    Raises:
        ConfigError: the task has no hub source here.
    """
    if task not in _HUB_SOURCES:
        raise ConfigError(f"hub source: saw the task {task!r}; expected one of {', '.join(sorted(_HUB_SOURCES))}")
    labelled = {"hub_splits": {"train": "train", "validation": "validation"}}
    pinned = {"hub_revision": revision} if revision is not None else {}
    fields = {**labelled, **_HUB_SOURCES[task], **pinned, "split_rule": split_rule}
    return validate(SourceSpec, {"loader": "hub", "task": task, **fields}, f"hub source {task!r}")
