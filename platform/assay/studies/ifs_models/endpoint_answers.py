"""Responses of the models of an IFS study that are asked over HTTP, through the gateway and its ledger."""

from __future__ import annotations

from contextlib import nullcontext

from assay.cluster.joining import cluster_of_this_job
from assay.config import validate
from assay.errors import StageError
from assay.hooks import Progress
from assay.llm.endpoint import EndpointSpec, with_reported_name
from assay.llm.requests import Answer, ChatRequest, Failure, Message, Reply, Sampling
from assay.stoppable import run_stoppable
from assay.studies.ifs_models.local_answers import Answers, Rendered, Response
from assay.studies.ifs_models.spec import IfsModel, IfsStudy


def endpoint_answers(study: IfsStudy, rendered: Rendered, ledger_url: str, progress: Progress) -> Answers:
    """Responses of every model that has a base URL, by model and kind of prompt; known replies come from the ledger.

    Raises:
        EndpointError: nothing answers, or key or model are refused.
        StageError: a model that answers nothing at all.
    """
    remote = [model for model in study.models if model.base_url is not None]
    found: Answers = {}
    with cluster_of_this_job() if remote else nullcontext():
        for model in remote:
            found |= run_stoppable(_ask(study, model, rendered, ledger_url, progress))
    return found


async def _ask(study: IfsStudy, model: IfsModel, rendered: Rendered, ledger_url: str, progress: Progress) -> Answers:
    from assay.llm.gateway import open_gateway

    fields = {**model.reach(), "model": model.model}
    endpoint = with_reported_name(validate(EndpointSpec, fields, f"model {model.name!r}"))
    places = [(name, place) for name, rows in rendered.items() for place in range(len(rows))]
    sampling = Sampling(temperature=study.generation.temperature, max_tokens=study.max_new_tokens)
    requests = [
        ChatRequest(model.model, (Message("user", rendered[name][place].instruction),), sampling, protocol="ifs")
        for name, place in places
    ]
    stage = f"answers of {model.name}"
    progress.start(stage, len(requests), unit="prompts")
    found: Answers = {(model.name, name): [Response("", None)] * len(rows) for name, rows in rendered.items()}
    detail = ""
    async with open_gateway(endpoint, ledger_url=ledger_url, study=study.name, judge=model.model) as gateway:
        async for number, reply in gateway.ask_many(requests):
            name, place = places[number]
            found[model.name, name][place] = _reply_response(rendered[name][place].example_id, reply)
            detail = reply.detail if isinstance(reply, Failure) else detail
            progress.advance(stage)
    progress.finish(stage)
    if all(response.text is None for responses in found.values() for response in responses):
        raise StageError(
            f"model {model.name!r} at {model.base_url} answers nothing ({detail}); a base model that is served without "
            "a chat template cannot be asked by chat: give its folder instead"
        )
    return found


def _reply_response(example_id: str, reply: Reply) -> Response:
    if isinstance(reply, Answer):
        return Response(example_id, reply.text)
    if reply.reason == "empty":  # a model that writes nothing has not answered; the endpoint worked
        return Response(example_id, "")
    return Response(example_id, None, f"error: {reply.reason}")
