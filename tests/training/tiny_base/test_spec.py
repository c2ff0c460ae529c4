from __future__ import annotations

import subprocess
import sys

import pytest

from assay.config import validate
from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.records import Example
from assay.training.tiny_base.spec import TOY_BASE, TinyBaseSpec, text_documents


def test_every_field_of_the_spec_is_identity() -> None:
    changed = {
        "flavour": "text", "hidden_size": 256, "num_layers": 3, "num_heads": 2, "feed_forward_size": 300,
        "vocabulary_size": 5000, "max_positions": 300, "num_documents": 7, "num_steps": 7, "batch_size": 7,
        "block_length": 9, "learning_rate": 0.5, "warmup_steps": 7, "weight_decay": 0.5, "beta2": 0.5,
        "other_weight": 0.5, "seed": 7,
    }  # fmt: skip
    assert changed.keys() == TinyBaseSpec.model_fields.keys()
    names = {fingerprint(TOY_BASE.replace(**{field: value})) for field, value in changed.items()}
    assert len(names | {fingerprint(TOY_BASE)}) == len(changed) + 1


def test_both_shipped_bases_have_a_head_size_that_vllm_serves() -> None:
    assert {spec.hidden_size // spec.num_heads for spec in (TOY_BASE,)} <= {32, 64}


@pytest.mark.parametrize(("hidden_size", "num_heads"), [(128, 8), (128, 3), (48, 1)])
def test_a_head_size_that_vllm_does_not_serve_is_refused(hidden_size: int, num_heads: int) -> None:
    with pytest.raises(ConfigError, match=rf"hidden_size {hidden_size} / num_heads {num_heads} must be a head size"):
        validate(TinyBaseSpec, {"hidden_size": hidden_size, "num_heads": num_heads}, "base")


def test_text_documents_never_show_validation_or_test_rows_and_mark_the_answer() -> None:
    rows = [
        Example("1", "t", "train", "Add.", "1 and 2", "It is 3."),
        Example("2", "t", "train", "Greet.", "", "Hello."),
        Example("3", "t", "validation", "secret", "", "secret"),
        Example("4", "t", "test", "secret", "", "secret"),
    ]
    documents = text_documents(rows)
    assert [document.text for document in documents] == ["Add.\n1 and 2\nIt is 3.", "Greet.\nHello."]
    assert [d.text[start:end] for d in documents for start, end in d.answers] == ["It is 3.", "Hello."]


def test_importing_the_spec_loads_no_engine() -> None:
    code = "import sys, assay.training.tiny_base.spec; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "tokenizers", "ray"} & set(run.stdout.split())
