"""A plug-in as a value: what it is called, and either its source files or the distribution that brings it. Pure.

It travels to every worker as it is: one from a study's folder with its files, so that no machine needs them beforehand;
one that is installed by name and version, which every machine must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from assay.fingerprint import content_hash, delimited_hash


@dataclass(frozen=True)
class PluginCode:
    """One plug-in."""

    name: str
    """Its module, as a study names it."""
    distribution: str = ""
    """`name==version` of the installed distribution that brings it; empty: it lies in the study's folder."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Of one in the study's folder: path below the folder, content; sorted."""
    attribute: str = "register"
    """The function that adds its parts."""

    @cached_property
    def identity(self) -> str:
        """Part of the key of what it makes: the distribution's version, or 32 hex digits over its files."""
        if self.distribution:
            return self.distribution
        return delimited_hash([part for path, content in self.files for part in (path, content_hash(content))])

    @property
    def origin(self) -> str:
        """What people are told of where a part comes from."""
        return self.distribution or f"{self.name} (study's folder)"
