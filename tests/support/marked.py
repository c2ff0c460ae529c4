"""Identities in which each field that says nothing of a key, or came later than keys did, says something once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from assay.errors import ConfigError
from assay.generation.spec import GenerationSpec, predictions_key
from assay.llm.endpoint import EndpointSpec
from assay.mixtures.spec import MixtureSpec, mixture_key
from assay.mixtures.synthesis import RandomLabels, SyntheticRows
from assay.scoring.jobs import make_batches, scores_key
from assay.scoring.judges.protocols.criteria import CriteriaJudge
from assay.scoring.judges.table import SHIPPED_PROTOCOLS
from assay.scoring.protocol import ScorerSpec
from assay.studies.catalog import load_study
from assay.studies.derived import derived_keys
from assay.studies.modes import MODES
from assay.tasks.datasets.sources import SourceSpec
from assay.tone.artifact import tone_key
from assay.tone.model import ToneSpec
from assay.training.encoding import encoding_key
from assay.training.spec import TrainSpec

PROMPT = "Ours.\n<|im_start|>user\nRate {response} for {prompt}, {low} to {high}.<|im_end|>\n"


def marked() -> dict[str, Any]:
    """Identities in which each field that says nothing of a key, or came later than keys, says something once."""
    quickstart = load_study("quickstart")
    told = {
        "structured": True,
        "repeats": 2,
        "retry_unreadable": 1,
        "max_reply_tokens": 900,
        "reasoning_effort": "low",
        "protocol": "my_rubric",
        "prompt": {"file": "memo.txt", "text": PROMPT},
        "scale": [1, 3],
        "max_usd": 3.0,
        "max_concurrency": 3,
        "timeout_s": 7.0,
        "base_url": "http://127.0.0.1:9/v1",
        "give_up_s": 9.0,
    }
    own = {"memo": {"answer": {"format": "label", "labels": ["yes", "no"]}, "criteria": "Be right.", "chance": 0.4}}
    memo = {"loader": "toyworld", "task": "memo", "num_train": 20, "num_validation": 0, "num_test": 8, "wordy": 0.5}
    derived = {"written": {"kind": "synthetic", "of": "toy_sentiment", "rows": 8, "temperature": 0.5}}
    derived["tagged"] = {"kind": "judge_tags", "of": "instructions", "encoder": "some/encoder", "judge_rows": 60}
    whole: dict[str, Any] = quickstart.model_dump()
    sources = {**whole["data"]["sources"], "memo": memo}
    studies = {
        "judge": quickstart.replace(judge=told),
        "writer": quickstart.replace(writer={"model": "gpt-4o", "max_usd": 1.0, "repeats": 1, "temperature": None}),
        "own task": quickstart.replace(
            tasks=own,
            data={
                **whole["data"],
                "sources": sources,
                "derived": derived,
                "root": "/elsewhere",
                "instructions": "tagged",
            },
            grid={**whole["grid"], "tasks": ["memo"], "max_tokens": 100, "target_validation_rows": 4},
        ),
        "rows": quickstart.replace(error_rows=4, leaks={"policy": "refuse", "copies": "keep"}),
        "statistics": quickstart.replace(
            statistics={"baseline": "instructions only", "below_target": 9, "meta_tasks": ["toy_sentiment"]}
        ),
        "decided": quickstart.replace(
            decide={"scorer": "truth", "spend": {"rounds": [2, 3]}, "keep": ["instructions only"], "max_usd": 2.0}
        ),
        "prompts": quickstart.replace(
            generation={"prompt": {"style": "bare", "date": "2025-01-01", "prefix": "A"}},
            train={"prompt": {"template_args": {"enable_thinking": False}}, "objective": {"method": "ipo"}},
        ),
        "tried scorers": quickstart.replace(
            scorers=(*quickstart.scorers, "bertscore"), scorer_params={"bertscore": {"model": "some/model", "layer": 3}}
        ),
        "tone": load_study("early_stopping_small").replace(
            ifs={
                "every_steps": 4,
                "prompts": {"loader": "messages", "path": "x.jsonl"},
                "tone": {"spec": {"kind": "embedding", "encoder": "/some/folder"}},
            }
        ),
    }
    parts = {"name": "a", "dataset": "d", "count": 3}
    staged = {**parts, "stage": 0, "excluded": "long", "max_repeats": 2}
    mixtures = {
        "natural": MixtureSpec.model_validate({"train": [{**parts, "count": None, "weight": 1.0}], "total": 4}).replace(
            is_natural=True
        ),
        "curriculum": MixtureSpec.model_validate(
            {"train": [staged, {**staged, "name": "b", "stage": 1}], "order": "curriculum", "mode": "compat"}
        ),
        "strict": MixtureSpec.model_validate({"train": [parts, {**staged, "name": "b"}], "held_out": ["e"]}),
    }
    endpoint = EndpointSpec(name="judge", model="rubric", base_url="http://127.0.0.1:1/v1")
    labels = RandomLabels(of="d", seed=3)
    conversation = {"loader": "hub", "hub": "a/b", "conversation": "messages", "preference": "trl", "turns": "each"}
    spec = ScorerSpec(name="s", kind="embedding", params={"layer": 3}, cost="model", path="/some/folder")
    return {
        **{name: study.identity() for name, study in studies.items()},
        **{f"{name} mixture": mixture_key(made, {"d": "d" * 32, "e": "e" * 32}) for name, made in mixtures.items()},
        "derived": derived_keys({"x": labels, "y": SyntheticRows(of="x", rows=4)}, {"d": "d" * 32}, endpoint),
        **{f"tone {kind}": tone_key(ToneSpec(kind=kind), "d" * 32) for kind in ("features",)},
        "scores": scores_key(spec, make_batches([("p" * 32, "e" * 32)])[0]),
        "sources": [
            dataset_fields(SourceSpec.model_validate(fields))
            for fields in (conversation, {**memo, "task": None, "unfinished": 0.5}, {"loader": "jsonl", "path": "x"})
        ],
        "predictions": predictions_key(
            GenerationSpec.model_validate({"prompt": {"prefix": "A", "rules": "compat"}}),
            base_key="b" * 32,
            adapter_key=None,
            evaluation_key="e" * 32,
            max_new_tokens=8,
        ),
        "recipe": TrainSpec.model_validate({"objective": "dpo", "prompt": {"date": "2025-01-01"}}),
        **{f"protocol {name} ({mode})": settings for name, mode, settings in protocols()},
        "rows of a recipe": encoding_key(TrainSpec.model_validate({"objective": "conditional"})),
    }


def protocols() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Name, mode and identity of every judge protocol that ships, and of those that ask for a schema once more."""
    for name in SHIPPED_PROTOCOLS.names():
        for mode in MODES:
            yield name, mode, SHIPPED_PROTOCOLS.make(name, mode).identity()
        with suppress(ConfigError):
            yield name, "structured", SHIPPED_PROTOCOLS.make(name, structured=True).identity()
    for mode in MODES:
        yield "criteria", mode, CriteriaJudge("Be right.", mode=mode).identity()
    yield "criteria", "own text", CriteriaJudge("", prompt_text=PROMPT, max_reasks=0).identity()


def dataset_fields(source: SourceSpec) -> dict[str, object]:
    """What a dataset's key says of its source."""
    return source.dataset_identity()
