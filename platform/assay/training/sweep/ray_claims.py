"""The claims that a cluster shares: one named actor per store, and a training's own claim, renewed while it lasts."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import ray

from assay.cluster.ray_named import NAMESPACE, ExitWhenIdle
from assay.cluster.ray_nodes import on_the_head
from assay.fingerprint import content_hash
from assay.training.sweep.claims import RENEW_EVERY_S, ClaimTable

ANSWER_WITHIN_S = 10.0


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class ClaimActor(ExitWhenIdle):
    """Holds the one `ClaimTable` of a store. Killed, it comes back empty, and renewals fill it again."""

    def __init__(self) -> None:
        super().__init__()
        self._table = ClaimTable()

    def claim(self, key: str, holder: str) -> bool:
        self.touch()
        return self._table.claim(key, holder, time.monotonic())

    def release(self, key: str, holder: str) -> None:
        self._table.release(key, holder)

    def taken(self, keys: list[str]) -> list[str]:
        """Those of `keys` that somebody trains now."""
        self.touch()
        return [key for key in keys if not self._table.is_free(key, time.monotonic())]


class Claim:
    """This training's claim on a key; held while the object is open."""

    def __init__(self, store_uri: str, key: str, holder: str) -> None:
        """Ask for the claim; `held` says whether it was given. The holder is a sweep, so its attempts share a claim."""
        self._uri, self._key, self._holder = store_uri, key, holder
        self._over = threading.Event()
        self.held = self._ask()
        if self.held:
            threading.Thread(target=self._renew, daemon=True, name="assay-claim").start()

    def close(self) -> None:
        """Give the claim back."""
        self._over.set()
        if self.held:
            self.held = False
            with suppress(ray.exceptions.RayError):  # the lease runs out by itself
                _actor(self._uri).release.remote(self._key, self._holder)

    def _ask(self) -> bool:
        try:
            return bool(ray.get(_actor(self._uri).claim.remote(self._key, self._holder), timeout=ANSWER_WITHIN_S))
        except ray.exceptions.RayError:  # claims spare work: without them it is done
            return True

    def _renew(self) -> None:
        while not self._over.wait(RENEW_EVERY_S):
            self._ask()


def prepare_claims(store_uri: str) -> None:
    """Start the actor of a store, so that it is there when the first training asks; waits for nothing."""
    _actor(store_uri)


def taken_elsewhere(store_uri: str, keys: list[str]) -> list[str]:
    """Those of `keys` that another study trains now."""
    try:
        return list(ray.get(_actor(store_uri).taken.remote(keys), timeout=ANSWER_WITHIN_S))
    except ray.exceptions.RayError:
        return []


def _actor(store_uri: str) -> ray.actor.ActorHandle:
    name = f"assay-claims-{content_hash(store_uri.encode())[:12]}"
    options = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, **on_the_head()}
    return ClaimActor.options(**options).remote()
