"""A model that is too small to say anything, as a folder that vLLM loads.

Its weights are drawn by chance, always the same ones, so that what it writes without sense it
writes again. It writes plain characters only, and never ends by itself: only a grammar or a limit
ends its answers.
"""

# ruff: noqa: PLC0415 - these libraries come with vLLM, which is not everywhere

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

CONTEXT_TOKENS = 8192
_HIDDEN = 64
_TURN, _END = "<|im_start|>", "<|im_end|>"
_NEVER = -1000.0

TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

STRICT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
    "{{ raise_exception('roles must take turns') }}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
"""Like those that know no system."""


def write_model(folder: Path, template: str | None = TEMPLATE) -> Path:
    """Write tokenizer, settings and weights; needs what vLLM brings."""
    import torch
    import transformers

    fast = _tokenizer()
    fast.chat_template = template
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(fast),
        hidden_size=_HIDDEN,
        intermediate_size=2 * _HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        initializer_range=0.3,
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        _silence(model, [number for number in range(len(fast)) if not _plain(fast, number)])
    model.save_pretrained(folder)
    return folder


def write_reciting_model(folder: Path, template: str, answer: list[str], *, control: bool) -> Path:
    """Write a model that answers everything with the same words, each of which is one token.

    Args:
        folder: where to.
        template: one that ends with a line feed behind the last turn.
        answer: its words, all different.
        control: whether those in brackets are control words, which vLLM leaves out of texts.
    """
    import tokenizers
    import torch
    import transformers

    fast = _tokenizer()
    marks = [word for word in answer if word.startswith("<")]
    words = [tokenizers.AddedToken(word, special=control and word in marks) for word in answer]
    fast.add_tokens(words)
    fast.chat_template = template
    fast.save_pretrained(folder)
    size = -(-len(fast) // 64) * 64
    config = transformers.LlamaConfig(
        vocab_size=len(fast),
        hidden_size=size,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=size // 32,
        num_key_value_heads=size // 32,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        tie_word_embeddings=False,
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        # What is said depends on the last token alone: nothing is added to what it stands for.
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(fast), size))
        model.lm_head.weight.zero_()
        chain = [_line_feed(fast), *fast.convert_tokens_to_ids(answer), fast.eos_token_id]
        for token, following in itertools.pairwise(chain):
            model.lm_head.weight[following, token] = 5.0
    model.save_pretrained(folder)
    return folder


def _line_feed(fast: Any) -> int:
    (number,) = fast.encode("\n", add_special_tokens=False)
    return int(number)


def _tokenizer() -> Any:
    """Make one of single bytes and two control words."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    bare = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.add_special_tokens([_TURN, _END])
    return PreTrainedTokenizerFast(tokenizer_object=bare, eos_token=_END, pad_token=_END)


def _plain(fast: Any, number: int) -> bool:
    text = fast.decode([number])
    return len(text) == 1 and text.isascii() and text.isprintable()


def _silence(model: Any, numbers: list[int]) -> None:
    """Make some tokens unlikely: one value of each state stays what it is, and speaks against them.

    Nothing but the embedding writes to that value, so it is the same at every place.
    """
    model.model.embed_tokens.weight[:, 0] = 5.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0
    model.lm_head.weight[:, 0] = 0.0
    model.lm_head.weight[numbers, 0] = _NEVER
