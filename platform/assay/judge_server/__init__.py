"""A local server that speaks the OpenAI API: judges by rules or replays recorded judges, for tests and offline studies.

config      what the server does, and its command line
launch      `start_judge_server`: the server as a subprocess that ends with its parent
server/     endpoints over raw ASGI under uvicorn; one chat completion: limits, faults, latency, answer, bill; batches
rubric/     what a judge's prompt shows and asks for, how good a response is, planted biases -> reply text
replay/     recorded exchanges by the instance's own texts
"""

from __future__ import annotations

from assay.judge_server.config import JudgeServerConfig
from assay.judge_server.launch import JudgeServer, start_judge_server

__all__ = ["JudgeServer", "JudgeServerConfig", "start_judge_server"]
