"""A commented study file out of guesses. Every choice that was made for the reader is a line with its reason."""

from __future__ import annotations

import json
from collections.abc import Sequence

from assay.studies.first_file.guess import Guess

MOST_TEST_ROWS = 100
HEAD = """# A first study of the files in this folder, guessed from their rows by `assay init`. Read every line that
# says GUESS or WRITE before the numbers matter. Then `assay plan` says what it costs, and `assay run` runs it.
name: {name}
"""
MODEL = """
# The tiny base is trained on the spot, so that the study runs anywhere; it says nothing about useful models.
# Name yours:
# base_models: [Qwen/Qwen2.5-0.5B]      # a hub id or a folder; then leave out tiny_base
base_models: [tiny]
tiny_base: {flavour: text, num_steps: 300}
"""
SCORERS = """
# exact_match compares texts, heuristic goes by the task's correct_if, rouge1 compares words. `judge` asks an LLM:
# scorers: [exact_match, heuristic, rouge1, judge] with judge: {model: NAME, base_url: URL}
scorers: [exact_match, heuristic, rouge1]
statistics: {human: HUMAN}
"""


def study_text(name: str, root: str, datasets: Sequence[Guess]) -> str:
    """The study file.

    Args:
        name: of the study.
        root: folder of the files.
        datasets: at least one.
    """
    tasks = [part for part in datasets if part.is_task]
    sets = sorted((part for part in datasets if not part.is_task), key=lambda part: -part.num_rows)
    parts = [HEAD.format(name=name)]
    if tasks:
        parts.append("\ntasks:\n" + "".join(map(_task, tasks)))
    leading = sets[0] if sets else datasets[0]
    parts.append(f"\ndata:\n  root: {_quoted(root)}\n")
    parts.append(f"  instructions: {leading.name}\n  sources:\n" + "".join(map(_source, datasets)))
    parts.append(_grid(leading, tasks, datasets))
    parts.append(MODEL)
    can_tell = any(part.answer not in ("free", "code_block") for part in tasks)
    parts.append(SCORERS.replace("HUMAN", "heuristic" if can_tell else "rouge1"))
    return "".join(parts)


def _task(part: Guess) -> str:
    lines = [f"  {part.name}:"]
    if part.instruction is not None:
        lines.append(f"    instruction: {_quoted(part.instruction)}")
    else:
        lines.append('    instruction: ""        # WRITE what the model is asked; empty: each row brings its own')
    labels = f", labels: [{', '.join(map(_quoted, part.labels))}]" if part.labels else ""
    lines.append(f"    answer: {{format: {part.answer}{labels}}}      # GUESS by {part.num_rows:,} rows")
    lines.append(f"    max_new_tokens: {part.max_new_tokens}      # GUESS by the longest answers")
    lines += [f"    # could not tell {said}" for said in part.unsure]
    return "\n".join(lines) + "\n"


def _source(part: Guess) -> str:
    fields = [f"loader: {part.loader}", f"path: {_quoted(part.path)}"]
    if part.is_task:
        fields.append(f"task: {part.name}")
    if part.columns:
        fields.append("columns: {" + ", ".join(f"{key}: {_quoted(value)}" for key, value in part.columns.items()) + "}")
    if not part.has_splits:
        fields.append("split_rule: strict")
    told = "" if part.has_splits else "   # by content, 80/10/10"
    notes = "" if part.is_task else "".join(f"    # could not tell {said}\n" for said in part.unsure)
    return f"{notes}    {part.name}: {{{', '.join(fields)}}}{told}\n"


def _grid(leading: Guess, tasks: Sequence[Guess], datasets: Sequence[Guess]) -> str:
    if not leading.is_task and tasks:
        names = ", ".join(part.name for part in tasks)
        most = min(part.num_rows for part in tasks) * (1 if leading.has_splits else 8) // 10
        sizes = [size for size in (0, 30, 100, 300, 1000) if size <= most] or [0]
        return (
            "\n# How many rows of each task are worth having among the instructions? Other designs: docs/studies.md\n"
            f"grid: {{design: target, tasks: [{names}], sizes: {sizes}, draws: 3, validation_rows: 0}}\n"
            f"evaluation: {{target_rows: {_rows(tasks)}, instruction_rows: {_rows([leading])}}}    # GUESS\n"
        )
    total = max(1, min(part.num_rows for part in datasets) * 6 // 10)
    sets = "".join(f"    {part.name}: {{rows: {_rows([part])}}}\n" for part in datasets)
    components = ", ".join(f"{part.name}: {{}}" for part in datasets)
    return (
        "\n# Which shares of these datasets make the best model on all of them? Two points are always there:\n"
        "# natural (in proportion to the rows) and uniform.\n"
        f"grid:\n  design: mixture\n  components: {{{components}}}\n"
        f"  total: {total}     # GUESS: rows of every mixture\n"
        "  validation_rows: 0\n  draws: 3\n"
        f"evaluation:\n  instruction_max_new_tokens: 128\n  sets:\n{sets}"
    )


def _rows(parts: Sequence[Guess]) -> int:
    """Test rows that every one of them has, a hundred at most."""
    return max(1, min(MOST_TEST_ROWS, *(part.num_test for part in parts)))


def _quoted(text: str) -> str:
    """A YAML string, whatever the text holds."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in plain)
