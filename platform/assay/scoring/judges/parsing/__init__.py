"""What a judge's reply says: every reader in one place. Pure; none of them raises on any text."""

from __future__ import annotations

from assay.scoring.judges.parsing.choices import (
    COT,
    LABEL,
    Patterns,
    compat_bracket,
    compat_choice,
    is_contested,
    parse_class,
    parse_option,
    strict_bracket,
    strict_choice,
)
from assay.scoring.judges.parsing.pairs import (
    compat_csv_pair,
    compat_first_line_pair,
    compat_last_lines_pair,
    parse_pair,
)
from assay.scoring.judges.parsing.scores import compat_integer, parse_score
from assay.scoring.judges.parsing.text_numbers import looks_refused

__all__ = [
    "COT",
    "LABEL",
    "Patterns",
    "compat_bracket",
    "compat_choice",
    "compat_csv_pair",
    "compat_first_line_pair",
    "compat_integer",
    "compat_last_lines_pair",
    "is_contested",
    "looks_refused",
    "parse_class",
    "parse_option",
    "parse_pair",
    "parse_score",
    "strict_bracket",
    "strict_choice",
]
