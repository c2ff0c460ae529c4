"""Every function that reads a judge's reply or a prediction, with what may come out of it. Shared by both fuzzers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from assay.llm.endpoint import EndpointSpec
from assay.llm.transports.chat import read_refusal, read_reply
from assay.mixtures.synthesis import parse_rows
from assay.scoring.judges.parsing import choices as choice_parsing
from assay.scoring.judges.parsing import joint as joint_parsing
from assay.scoring.judges.parsing import pairs as pair_parsing
from assay.scoring.judges.parsing import scores as score_parsing
from assay.scoring.judges.parsing import text_numbers
from assay.scoring.scorers import literals

LOW, HIGH = 1.0, 10.0
ENDPOINT = EndpointSpec(model="m")


def in_range(value: Any) -> bool:
    return value is None or (math.isfinite(value) and LOW <= value <= HIGH)


def anything(_: Any) -> bool:
    return True


def pair_in_range(value: Any) -> bool:
    return value is None or all(math.isfinite(part) and 0 <= part <= HIGH for part in value)


def joint_in_range(value: Any) -> bool:
    return all(part.score is None or LOW <= part.score <= HIGH for part in value.values())


PARSERS: Mapping[str, tuple[Callable[[str], Any], Callable[[Any], bool]]] = {
    "parse_score": (lambda text: score_parsing.parse_score(text, LOW, HIGH), in_range),
    "compat_integer": (score_parsing.compat_integer, anything),
    "parse_pair": (lambda text: pair_parsing.parse_pair(text, 0.0, HIGH), pair_in_range),
    "compat_csv_pair": (pair_parsing.compat_csv_pair, anything),
    "compat_first_line_pair": (pair_parsing.compat_first_line_pair, anything),
    "compat_last_lines_pair": (pair_parsing.compat_last_lines_pair, anything),
    "strict_choice": (choice_parsing.strict_choice, anything),
    "compat_choice": (choice_parsing.compat_choice, anything),
    "strict_bracket": (choice_parsing.strict_bracket, anything),
    "compat_bracket": (choice_parsing.compat_bracket, anything),
    "parse_option": (lambda text: choice_parsing.parse_option(text, "ABCDE"), anything),
    "parse_class": (lambda text: choice_parsing.parse_class(text, ["Math", "Code"]), anything),
    "parse_joint": (lambda text: joint_parsing.parse_joint(text, ["A", "B"], LOW, HIGH), joint_in_range),
    "whole_json": (lambda text: list(text_numbers.whole_json(text)), anything),
    "embedded_json": (lambda text: list(text_numbers.embedded_json(text)), anything),
    "looks_refused": (text_numbers.looks_refused, anything),
    "read_value": (literals.read_value, anything),
    "find_object": (literals.find_object, anything),
    "parse_rows": (parse_rows, anything),
    "read_reply": (lambda text: read_reply(text.encode(errors="replace"), {}), anything),
    "read_refusal": (
        lambda text: read_refusal(500, text.encode(errors="replace"), {}, endpoint=ENDPOINT, secret="sk-secret"),
        lambda exchange: "\x1b" not in exchange.detail,
    ),
}
