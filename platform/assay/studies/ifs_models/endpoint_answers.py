"""Responses of the models of an IFS study that are asked over HTTP, through the gateway and its ledger."""

from __future__ import annotations

from assay.config import validate
from assay.errors import StageError
from assay.generation.endpoint_answers import AskedEndpoint, ask_endpoint, silence
from assay.hooks import Progress
from assay.llm.endpoint import EndpointSpec, with_reported_name
from assay.llm.requests import Answer, ChatRequest, Message, Reply, Sampling
from assay.studies.ifs_models.local_answers import Answers, Rendered, Response
from assay.studies.ifs_models.spec import IfsModel, IfsStudy


def endpoint_answers(study: IfsStudy, rendered: Rendered, ledger_url: str, progress: Progress) -> Answers:
    """Responses of every model that has a base URL, by model and kind of prompt; known replies come from the ledger.

    Raises:
        EndpointError: nothing answers, or key or model are refused.
        StageError: a model that answers nothing at all.
    """
    found: Answers = {}
    for model in study.models:
        if model.base_url is not None:
            found |= _ask(study, model, rendered, ledger_url, progress)
    return found


def _ask(study: IfsStudy, model: IfsModel, rendered: Rendered, ledger_url: str, progress: Progress) -> Answers:
    fields = {**model.reach(), "model": model.model}
    endpoint = with_reported_name(validate(EndpointSpec, fields, f"model {model.name!r}"))
    places = [(name, place) for name, rows in rendered.items() for place in range(len(rows))]
    sampling = Sampling(temperature=study.generation.temperature, max_tokens=study.max_new_tokens)
    requests = [
        ChatRequest(model.model, (Message("user", rendered[name][place].instruction),), sampling, protocol="ifs")
        for name, place in places
    ]
    replies = ask_endpoint(AskedEndpoint(model.name, endpoint, ledger_url, study.name), requests, progress).replies
    if (detail := silence(replies)) is not None:
        raise StageError(
            f"model {model.name!r} at {model.base_url} answers nothing ({detail}); a base model that is served without "
            "a chat template cannot be asked by chat: give its folder instead"
        )
    found: Answers = {(model.name, name): [Response("", None)] * len(rows) for name, rows in rendered.items()}
    for (name, place), reply in zip(places, replies, strict=True):
        found[model.name, name][place] = _reply_response(rendered[name][place].example_id, reply)
    return found


def _reply_response(example_id: str, reply: Reply) -> Response:
    if isinstance(reply, Answer):
        return Response(example_id, reply.text)
    if reply.reason == "empty":  # a model that writes nothing has not answered; the endpoint worked
        return Response(example_id, "")
    return Response(example_id, None, f"error: {reply.reason}")
