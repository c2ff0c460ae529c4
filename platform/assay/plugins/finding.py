"""Where a plug-in's module is: in the study's folder, or in an installed distribution. Nothing is imported here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from assay.errors import ConfigError
from assay.plugins.code import PluginCode

GROUP = "assay.plugins"
"""Entry points of this group are plug-ins of every study on the machine."""
MAX_FILES, MAX_BYTES = 200, 2_000_000
"""Of a plug-in in a study's folder: it travels with the jobs."""
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def find_plugin(name: str, folder: Path | None) -> PluginCode:
    """The plug-in of this name: in the folder of the study file, else of an installed distribution.

    Raises:
        ConfigError: it is neither; says what was looked for.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"plugins: saw {name!r}; expected the name of a module in the study's folder or of an installed package, "
            "as in my_package.assay_parts; a path is none"
        )
    return (_in_folder(name, folder) if folder is not None else None) or _installed(name, folder)


@lru_cache(maxsize=1)
def installed_plugins() -> tuple[PluginCode, ...]:
    """Plug-ins that installed packages announce, by name."""
    found = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        assert entry.dist is not None
        distribution = f"{entry.dist.name}=={entry.dist.version}"
        found[entry.module] = PluginCode(entry.module, distribution, attribute=entry.attr or "register")
    return tuple(found[name] for name in sorted(found))


def _in_folder(name: str, folder: Path) -> PluginCode | None:
    """The module's file, or of a package all files: what it imports of itself is part of it."""
    top = name.partition(".")[0]
    paths = [folder / f"{top}.py"] if "." not in name else []
    package = folder / top
    if (package / "__init__.py").is_file() or (
        package.is_dir() and (folder / f"{name.replace('.', '/')}.py").is_file()
    ):
        paths = sorted(path for path in package.rglob("*") if path.is_file() and not _is_byproduct(path, package))
    paths = [path for path in paths if path.is_file()]
    if not paths:
        return None
    root = folder.resolve()
    outside = next((path for path in paths if not path.resolve().is_relative_to(root)), None)
    if outside is not None:
        raise ConfigError(
            f"plugins: saw {name!r}, whose {outside.name} leads out of the study's folder; expected files inside it; "
            "copy them there"
        )
    if len(paths) > MAX_FILES or sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise ConfigError(
            f"plugins: saw {len(paths)} files of {name!r}; expected at most {MAX_FILES} and {MAX_BYTES:,} bytes in "
            "all; install it as a package instead"
        )
    files = tuple((path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)
    return PluginCode(name, files=files)


def _is_byproduct(path: Path, package: Path) -> bool:
    parts = path.relative_to(package).parts
    return path.suffix == ".pyc" or any(part == "__pycache__" or part.startswith(".") for part in parts)


def _installed(name: str, folder: Path | None) -> PluginCode:
    top = name.partition(".")[0]
    places = "the folder of a study file (this study is read from none)" if folder is None else str(folder)
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise ConfigError(
            f"plugins: saw {name!r}, which is neither in {places} nor installed; expected a module; correct the name, "
            "put it beside the study file or install its package on every node"
        )
    distributions = importlib.metadata.packages_distributions().get(top, [])
    if not distributions:
        raise ConfigError(
            f"plugins: saw {name!r} at {spec.origin or top}, outside of the study's folder ({places}) and of every "
            "installed package; expected one of them; move it beside the study file or install it"
        )
    distribution = sorted(distributions)[0]
    return PluginCode(name, f"{distribution}=={importlib.metadata.version(distribution)}")
