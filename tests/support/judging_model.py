"""A Llama whose weights are set by hand, so that it says which of two answers is better and says it for a reason.

It reads characters. Its one layer attends to all of them alike, so it knows the share of each; the first character of
its answer is `a` where the text has many digits for its `<`, else `b`, and then the answer is over. A fence around
material has both: twelve hex digits, which differ when the order of two answers is turned, and three `<`. So of some
pairs it says the same in both orders, and others are a tie.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

END, UNKNOWN = "</s>", "<unk>"
SIGNS = [END, UNKNOWN, *string.printable]
DIGITS_FOR_A_SIGN = 2.5
"""Of a fence 7.5 of the 12 hex digits are decimal ones, on average, to three times `<`."""
POSITIONS = 2304
HIDDEN, HEAD = 64, 32
DIGIT, ANGLE, BREAK, SAID, FILL, DIGITS, ANGLES = range(7)
"""Places in the hidden state: what a character is, what makes all of one length, and the shares so far."""


def make_judging_model(folder: Path) -> Path:
    """Write model and tokenizer."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    places = {sign: place for place, sign in enumerate(SIGNS)}
    tokenizer = Tokenizer(models.WordLevel(places, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, unk_token=UNKNOWN, pad_token=END, model_max_length=POSITIONS
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(SIGNS), hidden_size=HIDDEN, intermediate_size=HEAD, num_hidden_layers=1, num_key_value_heads=2,
        num_attention_heads=2, max_position_embeddings=POSITIONS, tie_word_embeddings=False, eos_token_id=0,
        bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        seen = model.model.embed_tokens.weight
        for sign, place in places.items():
            marks = [(DIGIT, sign.isdigit()), (ANGLE, sign == "<"), (BREAK, sign == "\n"), (SAID, sign in "ab")]
            for dim, is_it in marks:
                seen[place, dim] = float(is_it)
            seen[place, FILL] = float(not any(is_it for _, is_it in marks))  # every row has one mark: one length
        layer = model.model.layers[0].self_attn
        for source, target in ((DIGIT, DIGITS), (ANGLE, ANGLES)):
            layer.v_proj.weight[source, source] = 1.0
            layer.o_proj.weight[target, source] = 1.0
        head = model.lm_head.weight
        for sign, direction in (("a", 1.0), ("b", -1.0)):
            head[places[sign], BREAK] = 2.0
            head[places[sign], DIGITS] = 20.0 * direction
            head[places[sign], ANGLES] = -20.0 * DIGITS_FOR_A_SIGN * direction
        head[places[END], SAID] = 4.0
    model.save_pretrained(folder, safe_serialization=True)
    kept = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**kept, "head_dim": HEAD}))
    return folder
