"""The ASGI application: chat completions go straight to `chat`, everything else through Starlette."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from assay.errors import ConfigError
from assay.judge_server.config import TOKEN_ENV, JudgeServerConfig
from assay.judge_server.server.batches import MAX_FILE_BYTES, BatchService, UnknownObjectError, read_upload
from assay.judge_server.server.chat import BadRequestError, ChatService, Receive, Scope, Send
from assay.judge_server.server.exchange import Judge
from assay.judge_server.server.tokens import STATEMENT

LOOPBACK = ("127.0.0.1", "localhost", "::1")

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_judge(config: JudgeServerConfig) -> Judge:
    """The rubric, or a replay with its index.

    Raises:
        InputError: a replay file cannot be read or holds no exchange.
    """
    if config.mode == "rubric":
        from assay.judge_server.rubric.judge import Rubric

        return Rubric(config.bias, config.seed)
    from assay.judge_server.replay.replay import Replay

    return Replay.from_files(config.replay, config.data, judge=config.judge, strategy=config.strategy)


def make_app(config: JudgeServerConfig) -> App:
    """The application.

    Raises:
        ConfigError: the host is not loopback and the environment holds no token.
    """
    token = os.environ.get(TOKEN_ENV) or None
    if config.host not in LOOPBACK and token is None:
        raise ConfigError(
            f"--host {config.host}: saw no token; expected {TOKEN_ENV} in the environment for a host beyond loopback; "
            "set it, or leave --host out"
        )
    chat = ChatService(config, make_judge(config), token)
    rest = _starlette(chat)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/v1/chat/completions" and scope["method"] == "POST":
            await chat(scope, receive, send)
        else:
            await rest(scope, receive, send)

    return app


def _starlette(chat: ChatService) -> App:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    batches = BatchService(chat)

    def guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if not chat.authorised(request.scope["headers"]):
                return _error(JSONResponse, 401, "Incorrect API key provided.", "invalid_api_key")
            try:
                return await handler(request)
            except BadRequestError as error:
                return _error(JSONResponse, 400, str(error), "invalid_request")
            except (ValueError, RecursionError):
                return _error(JSONResponse, 400, "saw no valid JSON", "invalid_request")
            except UnknownObjectError as error:
                return _error(JSONResponse, 404, f"no such object: {error}", "not_found")

        return answer

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "name": chat.name, "mode": chat.config.mode, "tokenizer": STATEMENT})

    async def models(request: Request) -> Response:
        names = chat.config.models or chat.judge.models
        found = [{"id": name, "object": "model", "created": 0, "owned_by": "assay"} for name in names]
        return JSONResponse({"object": "list", "data": found})

    async def invoice(request: Request) -> Response:
        return JSONResponse(chat.invoice.as_json() | {"name": chat.name})

    async def limits(request: Request) -> Response:
        if request.method == "POST":
            data = await request.json()
            if not isinstance(data, dict) or set(data) - {"rpm", "tpm"}:
                raise BadRequestError("expected an object with rpm and tpm")
            now = {name: getattr(chat.limits, kind) for name, kind in (("rpm", "requests"), ("tpm", "tokens"))}
            wanted = {name: data[name] if name in data else (int(meter.per_minute) if meter else None)
                      for name, meter in now.items()}  # fmt: skip
            if not all(value is None or (isinstance(value, int) and value > 0) for value in wanted.values()):
                raise BadRequestError("rpm, tpm: expected positive whole numbers or null")
            chat.set_limits(wanted["rpm"], wanted["tpm"])
        meters = {"rpm": chat.limits.requests, "tpm": chat.limits.tokens}
        shown: dict[str, Any] = {name: int(meter.per_minute) if meter else None for name, meter in meters.items()}
        return JSONResponse(shown | {"refused": chat.limits.refused})

    async def files(request: Request) -> Response:
        if request.method == "GET":
            found = [stored.as_json() for stored in batches.files.values()]
            return JSONResponse({"object": "list", "data": found, "has_more": False})
        body = await request.body()
        if len(body) > MAX_FILE_BYTES:
            raise BadRequestError(f"saw {len(body)} bytes; expected at most {MAX_FILE_BYTES}")
        name, purpose, content = read_upload(request.headers.get("content-type", ""), body)
        return JSONResponse(batches.add_file(name, purpose, content).as_json())

    async def file_object(request: Request) -> Response:
        return JSONResponse(batches.file(request.path_params["file_id"]).as_json())

    async def file_content(request: Request) -> Response:
        return Response(batches.file(request.path_params["file_id"]).content, media_type="application/octet-stream")

    async def batch_list(request: Request) -> Response:
        if request.method == "POST":
            return JSONResponse(batches.create(await request.json()).as_json())
        found, has_more = batches.page(request.query_params.get("after"), request.query_params.get("limit"))
        return JSONResponse({"object": "list", "data": [batch.as_json() for batch in found], "has_more": has_more})

    async def batch_object(request: Request) -> Response:
        return JSONResponse(batches.batch(request.path_params["batch_id"]).as_json())

    async def batch_cancel(request: Request) -> Response:
        batch = batches.batch(request.path_params["batch_id"])
        batches.cancel(batch)
        return JSONResponse(batch.as_json())

    return Starlette(  # type: ignore[no-any-return]
        routes=[
            Route("/healthz", health),
            Route("/v1/models", guarded(models)),
            Route("/v1/files", guarded(files), methods=["GET", "POST"]),
            Route("/v1/files/{file_id}", guarded(file_object)),
            Route("/v1/files/{file_id}/content", guarded(file_content)),
            Route("/v1/batches", guarded(batch_list), methods=["GET", "POST"]),
            Route("/v1/batches/{batch_id}", guarded(batch_object)),
            Route("/v1/batches/{batch_id}/cancel", guarded(batch_cancel), methods=["POST"]),
            Route("/assay/invoice", guarded(invoice)),
            Route("/assay/limits", guarded(limits), methods=["GET", "POST"]),
        ]
    )


def _error(response: Any, status: int, message: str, code: str) -> Any:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return response({"error": error}, status_code=status)
