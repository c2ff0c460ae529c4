"""A run that is blocked says for what it waits."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from assay.judging import waiting as judge_waiting
from assay.judging.waiting import calls_text, telling_what_waits, waiting_for
from assay.llm.figures import Figures, GatewayStats

IDLE = Figures().stats(priced=False, limit_per_min=None)
ASKED = dataclasses.replace(IDLE, asked=10, done=4, attempts=4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"attempts": 16}, "the endpoint, 12 attempts without a usable reply"),
        ({"attempts": 7, "rate_limited": 3}, "the endpoint's limit, 3 times"),
        ({"attempts": 6, "in_flight": 2}, "2 replies under way"),
        ({"limit_per_min": 6.0}, "the limit of 6 requests per minute"),
        ({}, "a permit to send"),
    ],
)
def test_a_blocked_run_names_what_blocks_it(changes: dict[str, Any], says: str) -> None:
    assert says in str(waiting_for(ASKED, dataclasses.replace(ASKED, **changes)))


def test_a_run_that_moves_or_is_over_waits_for_nothing() -> None:
    assert waiting_for(ASKED, dataclasses.replace(ASKED, done=5, attempts=5)) is None
    assert waiting_for(IDLE, IDLE) is None
    assert calls_text(ASKED) == "4/10"


def test_it_is_told_every_few_seconds_and_moves_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, object]] = []

    class Told:
        def advance(self, stage: str, count: int = 1, **info: object) -> None:
            told.append((count, info["waiting_for"]))

    def stats() -> GatewayStats:
        return dataclasses.replace(ASKED, limit_per_min=6.0)

    async def run() -> None:
        async with telling_what_waits(Told(), "judging", stats):  # type: ignore[arg-type]
            while len(told) < 2:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(judge_waiting, "LOOK_EVERY_S", 0.01)
    asyncio.run(asyncio.wait_for(run(), 20))
    assert told[0][0] == 0 and "6 requests" in str(told[0][1])
