"""Every error that a caller of Assay may want to handle, and the exit code that it ends a command with.

    AssayError                 1  something failed
    ├── InputError             2  the user can mend it: what was seen, what was expected, what to do
    │   ├── ConfigError           a study, spec or flag
    │   ├── DataError             a data file; names the file and the line
    │   ├── StorageError          the store cannot be read or written
    │   ├── EndpointError         a judge endpoint is down or refuses the key
    │   └── ResourceError         hardware was asked for that is not there
    ├── LimitReached           3  a budget or a limit stopped the work; the same command continues it
    └── StageError             1  a stage failed after its retries; names the stage and the first causes

A message is one line that a reader can act on at three in the morning. Anything else that is raised is a
bug in Assay and keeps its traceback.
"""

from __future__ import annotations

import re
import textwrap

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""What moves a cursor, recolours a terminal, ends a line or reorders its text."""


class AssayError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(AssayError):
    """Bad input. Build it with `seen_expected` where the three parts exist."""

    exit_code = 2

    @classmethod
    def seen_expected(cls, where: str, *, seen: str, expected: str, do: str) -> InputError:
        """One line out of the parts that every such message must have."""
        return cls(f"{where}: saw {seen}; expected {expected}; {do}")


class ConfigError(InputError):
    """A study, a spec or a flag does not validate."""


class DataError(InputError):
    """A data file cannot be read as what it was said to be."""


class StorageError(InputError):
    """The storage location cannot be used."""


class EndpointError(InputError):
    """An LLM endpoint cannot be used at all: nothing listens there, or it refuses the key or the model."""


class ResourceError(InputError):
    """Hardware or memory was asked for that this cluster does not have."""


class LimitReached(AssayError):
    """A budget, a time limit or a stop request ended the work cleanly; the same command continues it."""

    exit_code = 3


class StageError(AssayError):
    """A stage of a study failed after its retries."""


def plain_line(text: str) -> str:
    """`text` as one line that a terminal shows as it is: judged text, endpoints and file names may hold escapes."""
    return " ".join(_CONTROL.sub(" ", text).split())


LINE_WIDTH = 100
"""Characters of a line that commands print."""


def fitted(text: str, indent: int = 0) -> str:
    """A text in lines of at most `LINE_WIDTH` characters, cut at spaces; those after the first begin at `indent`.

    A word that is longer than a line, such as a path, is never cut.
    """
    lines = textwrap.wrap(
        text, LINE_WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)
