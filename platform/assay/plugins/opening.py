"""A plug-in's module imported, once a process, and what it registers. The only place that runs a user's code by name.

Files of a study's folder are written to a private temporary folder and imported from there under a package name that
holds their hash: what runs is what was hashed, on every machine, and two versions do not meet. Such a module finds its
neighbours by relative imports alone.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.metadata
import shutil
import socket
import sys
import tempfile
import types
from functools import lru_cache
from inspect import isabstract
from pathlib import Path
from typing import TypeVar

from assay.config import Config
from assay.errors import AssayError, ConfigError
from assay.plugins.code import PluginCode
from assay.plugins.registrations import Registrations

_Base = TypeVar("_Base", bound=Config)


@lru_cache(maxsize=64)
def registrations_of(code: PluginCode) -> Registrations:
    """What the plug-in adds; its module is imported at the first call of this process.

    Raises:
        ConfigError: it cannot be imported, has no `register`, or that fails; one line.
    """
    module = _imported(code)
    register = getattr(module, code.attribute, None)
    if not callable(register):
        raise ConfigError(
            f"plug-in {code.name!r}: saw no function {code.attribute}; expected `def register(registry)`; add it"
        )
    made = Registrations()
    try:
        register(made)
    except AssayError as error:
        raise ConfigError(f"plug-in {code.name!r}: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"plug-in {code.name!r}: its register raised {_told(error)}; expected it to add its parts; fix it"
        ) from error
    return made


def class_named(name: str, added: object, base: type[_Base], field: str, told: str, needs: str) -> type[_Base]:
    """What a plug-in added, as a class of this base whose field holds the name that it was added under.

    Args:
        name: that it was added under.
        added: by the plug-in.
        base: class that it must be derived from.
        field: that says its name, by its default.
        told: begins every complaint.
        needs: what the class must define.

    Raises:
        ConfigError: it is no such class, or calls itself something else.
    """
    if not (isinstance(added, type) and issubclass(added, base)) or isabstract(added):
        raise ConfigError(
            f"{told}: saw {added!r}; expected a class derived from {base.__module__}.{base.__name__} with {needs}"
        )
    said = added.model_fields[field].default
    if said != name:
        raise ConfigError(
            f"{told}: saw the {field} {said!r}; expected `{field}: Literal[{name!r}] = {name!r}` in the class"
        )
    return added


def _imported(code: PluginCode) -> types.ModuleType:
    if code.distribution:
        _check_installed(code)
    name = code.name if code.distribution else f"{_package_of(code)}.{code.name}"
    try:
        return importlib.import_module(name)
    except Exception as error:
        hint = "" if code.distribution else "; modules beside it are found by relative imports of one package alone"
        raise ConfigError(
            f"plug-in {code.name!r}: cannot be imported ({_told(error)}); expected a module that loads{hint}; fix it"
        ) from error


def _check_installed(code: PluginCode) -> None:
    """Refuse a machine that lacks the distribution, or has another version of it."""
    distribution, _, version = code.distribution.partition("==")
    try:
        found = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != version:
        raise ConfigError(
            f"plug-in {code.name!r}: saw {found} of {distribution} on node {socket.gethostname()}; expected {version} "
            "on every node; install it there"
        )


def _package_of(code: PluginCode) -> str:
    """Name of a package of this process whose folder holds the files."""
    name = f"assay_plugin_{code.identity[:16]}"
    if name not in sys.modules:
        folder = Path(tempfile.mkdtemp(prefix="assay-plugin-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for path, content in code.files:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
