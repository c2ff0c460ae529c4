"""Runs the application under uvicorn, in this process, and ends it when its parent is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from assay.errors import ConfigError
from assay.judge_server.config import JudgeServerConfig
from assay.judge_server.server.app import make_app


def serve(config: JudgeServerConfig, *, watch_parent: bool = False) -> None:
    """Serves until a signal, or with `watch_parent` until standard input ends or the parent process changes.

    The first line on standard output is the base URL, written once requests are answered.

    Raises:
        ConfigError: the port is taken, or the host is no address of this machine.
        InputError: a replay file cannot be read.
    """
    import uvicorn

    app = make_app(config)
    listener = _listen(config)
    port = listener.getsockname()[1]

    class Announced(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            host = f"[{config.host}]" if ":" in config.host else config.host
            sys.stdout.write(f"http://{host}:{port}/v1\n")
            sys.stdout.flush()
            if watch_parent:
                self._watch = asyncio.get_running_loop().create_task(_end_with_parent(self))

    options = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=3600,  # shorter, and a client's pooled connection dies under its next request
        timeout_graceful_shutdown=1,
        backlog=4096,
    )
    Announced(options).run(sockets=[listener])


def _listen(config: JudgeServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"--host {config.host} --port {config.port}: cannot listen ({error}); expected a free port of this "
            "machine; --port 0 finds one"
        ) from None
    return listener


async def _end_with_parent(server: object) -> None:
    """Ends the server when standard input ends (the parent holds the other end) or the parent process changes.

    Two signs, since a process forked from the parent may keep the pipe open. The kernel's own parent-death signal
    goes by the thread that started the child, which in a Ray worker may end long before the process does.
    """
    loop = asyncio.get_running_loop()
    parent = os.getppid()
    ended = asyncio.Event()
    fd = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(fd, 4096):
            loop.remove_reader(fd)
            ended.set()

    loop.add_reader(fd, readable)
    while not ended.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(ended.wait(), 1.0)
        except TimeoutError:
            continue
    server.should_exit = True  # type: ignore[attr-defined]
    await asyncio.sleep(3.0)
    os._exit(0)  # a hanging request must not keep an orphan alive
