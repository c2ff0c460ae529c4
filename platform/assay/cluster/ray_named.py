"""Named actors that a whole cluster shares and that come back after they were killed."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import ray

from assay.cluster.ray_nodes import beside_the_driver, on_the_head

NAMESPACE = "assay"
IDLE_S = 900.0
"""A detached actor outlives its job, so that the next one finds it; unused for so long it ends itself."""


class ExitWhenIdle:
    """Base of a detached actor: ends its process when nobody has called `touch` for IDLE_S."""

    def __init__(self) -> None:
        self._touched = time.monotonic()
        threading.Thread(target=self._watch, daemon=True, name="assay-idle").start()

    def touch(self) -> None:
        """Somebody needs this actor."""
        self._touched = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() - self._touched < IDLE_S:
            time.sleep(IDLE_S / 20)
        os._exit(0)


class NamedActor:
    """Finds an actor by name or makes it, and does so again when it has died."""

    def __init__(self, name: str, actor_class: Any, *arguments: Any, here: bool = False) -> None:
        """Get or make the actor.

        Args:
            name: unique in NAMESPACE.
            actor_class: a `ray.remote` class.
            *arguments: of its constructor.
            here: make it on this node, whose files it needs.
        """
        self.name = name
        self._class, self._arguments = actor_class, arguments
        self._here = beside_the_driver() if here else None
        self._actor = self._find()

    async def call(self, method: str, *arguments: Any, attempts: int) -> Any:
        """Call a method; where the actor has died, make it anew and call again, up to so many times."""
        for attempt in range(attempts):
            try:
                return await getattr(self._actor, method).remote(*arguments)
            except ray.exceptions.RayActorError:
                if attempt:
                    await asyncio.sleep(min(2.0, 0.1 * 2**attempt))  # its name may not be free yet
                self._actor = self._find()
                if attempt == attempts - 1:
                    raise
        raise ValueError("attempts must be at least 1")

    def _find(self) -> Any:
        place = self._here or on_the_head()  # which may be another head by now
        options = {"name": self.name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, **place}
        return self._class.options(**options).remote(*self._arguments)
