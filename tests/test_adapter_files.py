"""What an adapter's configuration says of its layers."""

from __future__ import annotations

from assay.adapter_files import adapter_rank


def test_an_adapters_rank_is_the_largest_of_its_layers() -> None:
    """vLLM was given room for `r`, and refused the layers of rank_pattern."""
    assert adapter_rank({"r": 8}) == 8
    assert adapter_rank({"r": 8, "rank_pattern": {"q_proj": 32, "v_proj": 4}}) == 32
    assert adapter_rank({"r": 8, "rank_pattern": {}}) == 8
