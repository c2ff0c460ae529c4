"""A small study whose losing arm is planted: it trains on rows that were joined wrongly."""

from __future__ import annotations

from pathlib import Path

EXITS_YAML = """\
extends: quickstart
name: ends
scorers: [exact_match, truth]
grid:
  design: mixture
  components: {toy_entities: {}, toy_entities_misjoined: {}}
  total: 96
  points:
    - {name: right, toy_entities: 1}
    - {name: misjoined, toy_entities_misjoined: 1}
  baseline: uniform
  draws: 2
  validation_rows: 48
evaluation: {sets: {toy_entities: {rows: 24}}}
train: {num_epochs: 2, eval_every: 1}
statistics: {resamples: 200}
resources: {num_cpus: 2}
exits: {at: [0.25, 0.5]}
"""
"""Four arms, two draws, 12 steps each. `natural` and `uniform` are the same rows: one training and its copy."""

NUM_STEPS = 12


def exits_study(folder: Path) -> str:
    """The study's file in this folder, written if it is not there."""
    path = folder / "ends.yaml"
    path.write_text(EXITS_YAML)
    return str(path)
