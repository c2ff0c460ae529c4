"""Groups of options that a command takes as one value: a frozen dataclass, or fields of a config class."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from assay.config import Config

Command = Callable[..., None]


@dataclass(frozen=True)
class FieldsOf:
    """Marks a parameter that is a mapping of these fields of a config class, each an option of the field's name.

    Help and default are the field's own; which values are right, the class says when it is made.
    """

    config: type[Config]
    names: tuple[str, ...]


def with_groups(command: Command) -> Command:
    """The command as Typer takes it: each parameter that is a group is replaced by the group's options, in order.

    Args:
        command: takes keywords; a parameter annotated with a dataclass or marked `FieldsOf` is a group, and the others
            are options.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: group for name, kind in hints.items() if (group := _group(kind)) is not None}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _options(groups[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        made = {}
        for name, group in groups.items():
            taken = {option: values.pop(option) for option in _names(group)}
            made[name] = taken if isinstance(group, FieldsOf) else group(**taken)
        command(**values, **made)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _group(kind: Any) -> Any:
    marks = [mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, FieldsOf)]
    if marks:
        return marks[0]
    return kind if is_dataclass(kind) else None


def _names(group: Any) -> tuple[str, ...]:
    return group.names if isinstance(group, FieldsOf) else tuple(option.name for option in fields(group))


def _options(group: Any) -> Iterator[inspect.Parameter]:
    if isinstance(group, FieldsOf):
        for name in group.names:
            field = group.config.model_fields[name]
            yield _option(name, field.default, Annotated[_plain(field.annotation), typer.Option(help=_help(field))])
        return
    hints = get_type_hints(group, include_extras=True)
    for option in fields(group):
        yield _option(option.name, _default(option), hints[option.name])


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _plain(kind: Any) -> Any:
    """A choice of words as text: the config class refuses others in a line of its own."""
    return str if get_origin(kind) is Literal and all(isinstance(word, str) for word in get_args(kind)) else kind


def _help(field: FieldInfo) -> str:
    return " ".join((field.description or "").replace("`", "").split())


def _default(option: Field[Any]) -> Any:
    return inspect.Parameter.empty if option.default is MISSING else option.default
