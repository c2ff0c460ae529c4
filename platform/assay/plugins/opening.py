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
from pathlib import Path

from assay.errors import AssayError, ConfigError
from assay.plugins.code import PluginCode
from assay.plugins.registrations import Registrations


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
