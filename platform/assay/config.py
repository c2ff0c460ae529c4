"""Frozen configuration: pydantic models that refuse unknown keys, and YAML files with dotted overrides.

A class named `*Spec` is identity: it is hashed and names the output. A class named `*Resources` is execution: it
changes the speed and never the result, so no part of it is hashed. Exceptions are marked at the field:

    path: Annotated[str, NOT_IDENTITY]               # never hashed: where a file lies, how an endpoint is reached
    max_repeats: Annotated[int, Later(1)] = 1        # came after keys did: hashed where it is not 1
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Tag, ValidationError

from assay.errors import ConfigError

TAG = "@"
"""Begins the tags of discriminated unions, so that messages can leave them out of a field's name."""
MAX_YAML_BYTES = 1_000_000
"""A study file is a page or two; anything larger is a mistake or an attack."""


class _NotIdentity:
    """The type of `NOT_IDENTITY`."""


NOT_IDENTITY: Final = _NotIdentity()
"""Marks a field that no result depends on."""


@dataclass(frozen=True)
class Later:
    """Marks a field that was added when keys were in use: with this value it says nothing, so that they stay.

    The value is what results had before the field, whatever the field's default becomes.
    """

    silent: Any


class Config(BaseModel):
    """Root of all specs and resources: frozen, unknown keys refused, defaults validated."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed, validated again (pydantic's `model_copy` is not)."""
        return type(self).model_validate({**self.model_dump(), **changes})

    def identity(self) -> dict[str, Any]:
        """What a result depends on, as JSON: the fields as their marks say, those of configs inside likewise."""
        return _as_marked(self, self.model_dump(mode="json"))


def _as_marked(config: Config, plain: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, silent in _marks(type(config)).items():
        value = getattr(config, name)
        if not any(value == mark.silent for mark in silent):
            found[name] = _identity_of(value, plain[name])
    return found


@cache
def _marks(kind: type[Config]) -> Mapping[str, tuple[Later, ...]]:
    """Each field that is identity -> when it says nothing."""
    return {
        name: tuple(mark for mark in field.metadata if isinstance(mark, Later))
        for name, field in kind.model_fields.items()
        if NOT_IDENTITY not in field.metadata
    }


def _identity_of(value: object, plain: Any) -> Any:
    if isinstance(value, Config):  # one dump is enough, unless the class has rules of its own
        return _as_marked(value, plain) if type(value).identity is Config.identity else value.identity()
    if isinstance(value, Mapping):
        return {name: _identity_of(part, plain[name]) for name, part in zip(plain, value.values(), strict=True)}
    if isinstance(value, tuple):
        return [_identity_of(part, said) for part, said in zip(value, plain, strict=True)]
    return plain


C = TypeVar("C", bound=Config)


def validate(cls: type[C], data: Mapping[str, Any], source: str) -> C:
    """`cls` from plain data.

    Raises:
        ConfigError: one line that names `source`, the field, what was seen and what was expected.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_one_line(error, cls, source)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, by the safe loader, aliases refused.

    Raises:
        ConfigError: no such file, too large, not YAML, or not a mapping.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: saw no such file; expected a YAML study; check the path")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise ConfigError(f"{path}: saw {path.stat().st_size} bytes; expected a study of at most {MAX_YAML_BYTES}")
    try:
        data = _load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: saw no valid YAML ({reason}); fix the file") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: saw a {type(data).__name__}; expected a mapping of field to value")
    return dict(data)


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`data` with `a.b=VALUE` overrides applied; VALUE is read as YAML (`[1, 2]`, `true`, `text`).

    Raises:
        ConfigError: an override without `=`, with an empty name, or one that reaches into a non-mapping.
    """
    merged: dict[str, Any] = _copy(data)
    for override in overrides:
        name, separator, text = override.partition("=")
        parts = name.strip().split(".")
        if not separator or not all(parts):
            raise ConfigError(f"--set {override}: expected FIELD=VALUE, as in --set judge.model=gpt-4o")
        try:
            value = _load_yaml(text) if text.strip() else text
        except RecursionError:
            raise ConfigError(f"--set {name}: saw a value nested too deeply; expected a plain one") from None
        except yaml.YAMLError:
            value = text  # a Windows path or a URL with odd characters is a plain string
        target = merged
        for part in parts[:-1]:
            child = target.get(part)
            if child is None:
                child = target[part] = {}
            if not isinstance(child, dict):
                raise ConfigError(f"--set {override}: {part!r} is {child!r}, which has no fields")
            target = child
        target[parts[-1]] = value
    return merged


class _PlainLoader(yaml.SafeLoader):
    """Safe loader without aliases: ten nested aliases unfold to a billion values."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def _load_yaml(text: str) -> Any:
    loader = _PlainLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return value


_USER_INFO = re.compile(r"://[^/@\s]*@")
"""What may be a password in a URL: never repeated."""


def _one_line(error: ValidationError, cls: type[Config], source: str) -> str:
    problems = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"] if not str(part).startswith(TAG))
        seen = _USER_INFO.sub("://[...]@", repr(item["input"]))
        seen = seen if len(seen) <= 80 else seen[:77] + "..."
        if item["type"] == "extra_forbidden":
            owner = _model_at(cls, item["loc"][:-1])
            known = f"; known fields: {', '.join(sorted(owner.model_fields))}" if owner else ""
            problems.append(f"unknown field {field!r}{known}")
        elif item["type"] == "missing":
            problems.append(f"field {field!r} is missing; a study must say it")
        elif item["type"] == "value_error" and isinstance(item["input"], Mapping):
            # a rule of a whole model names what it saw itself; the model's own text would bury it
            problems.append((f"field {field!r}: " if field else "") + item["msg"].removeprefix("Value error, "))
        else:
            place = f"field {field!r}: " if field else ""
            problems.append(f"{place}saw {seen}; {item['msg'].removeprefix('Value error, ')}")
    shown = problems[:3] + ([f"and {len(problems) - 3} more"] if len(problems) > 3 else [])
    return f"{source}: " + " | ".join(shown)


def _model_at(cls: type[Config], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model class that a path of field names leads to, as far as annotations say."""
    current: type[BaseModel] | None = cls
    variants: dict[str, type[BaseModel]] = {}
    for part in location:
        if isinstance(part, str) and part.startswith(TAG):
            current = variants.get(part, current)
            continue
        if current is None or not isinstance(part, str) or part not in current.model_fields:
            return None if isinstance(part, str) else current
        field = current.model_fields[part]
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        variants = {
            mark.tag: kind.__origin__
            for kind in candidates
            for mark in getattr(kind, "__metadata__", ())
            if isinstance(mark, Tag)
        }
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return current
