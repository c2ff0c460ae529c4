"""The tiny base that comes with the package, and the command that remakes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.model_folders import SHIPPED

TOY = SHIPPED["toy"]


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes, after one step."""
    from assay.training.tiny_base.shipped_engine import make_toy_base
    from assay.training.tiny_base.spec import QUICK_BASE

    folder = tmp_path_factory.mktemp("remade")
    make_toy_base(folder, spec=QUICK_BASE.replace(num_steps=1, num_documents=2000))
    return folder


def test_the_command_remakes_all_but_the_numbers_of_the_weights(remade: Path) -> None:
    from safetensors import safe_open

    assert {path.name for path in remade.iterdir()} == {path.name for path in TOY.iterdir()}
    for name in ("tokenizer.json", "config.json", "tokenizer_config.json"):
        assert json.loads((remade / name).read_text()) == json.loads((TOY / name).read_text()), name
    shapes = []
    for folder in (remade, TOY):
        with safe_open(folder / "model.safetensors", "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes.append({name: (one.get_shape(), one.get_dtype()) for name, one in slices.items()})
    assert shapes[0] == shapes[1]
    assert {dtype for _, dtype in shapes[0].values()} == {"F16"}


def test_the_shipped_base_answers_in_whole_sentences() -> None:
    """What the quickstart starts from: it knows the toy world and not the terse formats."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from assay.tasks.templates import render_prompt
    from assay.tasks.toyworld.world import toy_instruction_examples, toy_truth

    tokenizer = AutoTokenizer.from_pretrained(TOY)
    model = AutoModelForCausalLM.from_pretrained(TOY, dtype=torch.float32)
    rows = toy_instruction_examples({"test": 48}, 0)
    right = 0.0
    for row in rows:
        ids = tokenizer(render_prompt(row), return_tensors="pt", return_token_type_ids=False)
        written = model.generate(**ids, max_new_tokens=28, do_sample=False)[0, ids.input_ids.shape[1] :]
        right += toy_truth(row, tokenizer.decode(written, skip_special_tokens=True))
    assert right / len(rows) > 0.5
