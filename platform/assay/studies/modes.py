"""What a study's mode decides beside its own field: how the published study trained, cut answers and split rows.

Two ways in. A study that says nothing about a field gets its mode's value (`with_mode_rules`); a study that is turned
into the other mode takes the other's value wherever it has its own mode's (`in_other_mode`). What a study file or an
override says always stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.config import Config
from assay.records import Mode

MODES: tuple[Mode, ...] = ("strict", "compat")

LOSS_ON: Mapping[Mode, str] = {"strict": "answer", "compat": "all"}
"""`TrainSpec.loss_on`. The value of `GenerationSpec.mode`, and of `split_rule` where a hub dataset is split by content,
is the mode's own name."""


def with_mode_rules(data: Mapping[str, Any]) -> dict[str, Any]:
    """A study's fields with those that its mode decides and it leaves out."""
    found = dict(data)
    if found.get("mode") != "compat":
        return found  # the classes' own defaults are those of strict
    found["train"] = _as_published(_given(found.get("train"), "loss_on", LOSS_ON["compat"]))
    found["generation"] = _as_published(_given(found.get("generation"), "mode", "compat"))
    grid: Any = found.get("grid")
    tuning = grid.get("instruction_train") if isinstance(grid, Mapping) else getattr(grid, "instruction_train", None)
    if tuning is not None:
        changed = {"instruction_train": _as_published(_given(tuning, "loss_on", LOSS_ON["compat"]))}
        found["grid"] = {**grid, **changed} if isinstance(grid, Mapping) else grid.replace(**changed)
    return found


def in_other_mode(plain: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
    """A study's dumped fields as they are in another mode.

    Args:
        plain: all fields of a study, as `model_dump` gives them.
        mode: the mode to turn to.
    """
    was: Mode = plain["mode"]
    data = {**plain["data"], "sources": {name: _split(part, was, mode) for name, part in _sources(plain)}}
    found = {**plain, "mode": mode, "data": data}
    found["train"] = _by_rules(_turned(plain["train"], "loss_on", LOSS_ON[was], LOSS_ON[mode]), mode)
    found["generation"] = _by_rules(_turned(plain["generation"], "mode", was, mode), mode)
    if plain["grid"].get("instruction_train"):
        recipe = _turned(plain["grid"]["instruction_train"], "loss_on", LOSS_ON[was], LOSS_ON[mode])
        tuning = _by_rules(recipe, mode)
        found["grid"] = {**plain["grid"], "instruction_train": tuning}
    if plain["ifs"] is not None:  # its prompts are held-out rows of the instruction set
        found["ifs"] = {**plain["ifs"], "prompts": _split(plain["ifs"]["prompts"], was, mode)}
    return found


def _sources(plain: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(plain["data"]["sources"].items())


def _split(source: Mapping[str, Any], was: Mode, mode: Mode) -> dict[str, Any]:
    return _turned(source, "split_rule", was, mode) if source["loader"] == "hub" else dict(source)


def _turned(values: Mapping[str, Any], field: str, was: str, value: str) -> dict[str, Any]:
    return {**values, field: value} if values[field] == was else dict(values)


def _as_published(values: Any) -> Any:
    """A recipe or a generation spec whose prompts are made by the published study's rules."""
    if isinstance(values, Config):
        prompt: Any = values.prompt  # type: ignore[attr-defined]
        return values.replace(prompt=prompt.replace(rules="compat"))
    return _by_rules(values, "compat")


def _by_rules(values: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
    prompt = values.get("prompt") or {}
    plain = prompt.model_dump() if isinstance(prompt, Config) else dict(prompt)
    return {**values, "prompt": {**plain, "rules": mode}}


def _given(values: Any, field: str, value: str) -> Any:
    """The values with this field, where they do not say it."""
    if values is None:
        return {field: value}
    if isinstance(values, Mapping):
        return {field: value, **values}
    if isinstance(values, Config) and field not in values.model_fields_set:
        return values.replace(**{field: value})
    return values
