"""Tables of what ships: each name once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from assay.errors import ConfigError


def check_names_differ(what: str, names: Iterable[str]) -> None:
    """Refuse a table in which two parts have one name.

    Raises:
        ConfigError: says what it is, and the name.
    """
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(f"{what} {twice[0]!r}: saw a second definition; expected one; give yours another name")
