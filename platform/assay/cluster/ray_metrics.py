"""What a study tells Prometheus, through Ray's metrics agents: every name in one place.

Ray exports them on each node (`ray start --metrics-export-port`); `jobs/grafana.json` draws them. A counter's exported
name ends in `_total`. Metrics are for watching: nothing is decided by them and no result depends on them.
"""

from __future__ import annotations

from functools import cache

from ray.util.metrics import Counter, Gauge

COUNTERS = {
    "assay_judge_answers": ("Answers of a judge's endpoint that were no 429.", ("endpoint",)),
    "assay_judge_refusals": ("429s of a judge's endpoint.", ("endpoint",)),
    "assay_judge_tokens": ("Tokens that a judge's endpoint reported.", ("study", "kind")),
    "assay_judge_usd": ("Dollars of judge calls, where the price is known.", ("study",)),
    "assay_trials_ended": ("Trainings that ended, by how.", ("status",)),
    "assay_predictions_written": ("Predictions artifacts that were written.", ()),
    "assay_scores_written": ("Scores artifacts that were written.", ("scorer",)),
}
GAUGES = {
    "assay_judge_limit_per_min": ("Requests a minute that are let through; absent: no limit is known.", ("endpoint",)),
    "assay_judge_in_flight": ("Permits in the hands of workers.", ("endpoint",)),
    "assay_trials_running": ("Trainings that run.", ()),
}


def count(name: str, value: float = 1.0, **tags: str) -> None:
    """Add to a counter; nothing is added for a value of 0."""
    if value > 0:
        _counter(name).inc(value, tags=tags)


def show(name: str, value: float, **tags: str) -> None:
    """Set a gauge."""
    _gauge(name).set(value, tags=tags)


@cache
def _counter(name: str) -> Counter:
    description, tags = COUNTERS[name]
    return Counter(name, description, tag_keys=tags)


@cache
def _gauge(name: str) -> Gauge:
    description, tags = GAUGES[name]
    return Gauge(name, description, tag_keys=tags)
