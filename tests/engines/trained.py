"""The built-in model as if it had been trained to call functions: with another chat template.

The templates are written as makers of models write theirs, shorter. The model was trained with
none of them; it imitates calls where a conversation has enough of them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from nightrate.engines.packages import cache_directory
from nightrate.engines.weights import DEFAULT_MODEL, prepare

_TURNS = (
    "{%- for message in messages %}"
    "{%- if message.role == 'tool' %}"
    "{{- '<|im_start|>user\\n<tool_response>\\n' + message.content"
    " + '\\n</tool_response><|im_end|>\\n' }}"
    "{%- elif message.tool_calls %}"
    "{{- '<|im_start|>assistant' }}"
    "{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}"
    "{%- for call in message.tool_calls %}{%- set call = call.function %}"
    '{{- \'\\n<tool_call>\\n{"name": "\' + call.name + \'", "arguments": \' }}'
    "{{- call.arguments | tojson }}{{- '}\\n</tool_call>' }}"
    "{%- endfor %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- elif message.role != 'system' %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

TAGGED = (
    "{%- if tools or messages[0].role == 'system' %}"
    "{{- '<|im_start|>system\\n' }}"
    "{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}"
    "{%- if tools %}"
    "{{- 'You may call functions:\\n<tools>' }}"
    "{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}"
    '{{- \'\\n</tools>\\nCall one so:\\n<tool_call>\\n{"name": NAME, "arguments": OBJECT}\\n'
    "</tool_call>\\n' }}"
    "{%- endif %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- endif %}"
) + _TURNS
"""As Hermes and Qwen have it."""

BARE = (
    "{{- '<|im_start|>system\\n' }}"
    "{%- if messages[0].role == 'system' %}"
    "{{- messages[0].content }}{%- set messages = messages[1:] %}"
    "{%- endif %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- if tools %}"
    '{{- \'<|im_start|>user\\nRespond in the format {"name": function name, '
    '"parameters": dictionary of argument name and its value}.\\n\' }}'
    "{%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- '\\n' }}{%- endfor %}"
    "{{- messages[0].content + '<|im_end|>\\n' }}{%- set messages = messages[1:] %}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.tool_calls %}"
    "{%- if message.tool_calls | length != 1 %}"
    "{{- raise_exception('one call in a turn') }}{%- endif %}"
    "{%- set call = message.tool_calls[0].function %}"
    '{{- \'<|im_start|>assistant\\n{"name": "\' + call.name + \'", "parameters": \' }}'
    "{{- call.arguments | tojson }}{{- '}<|im_end|>\\n' }}"
    "{%- elif message.role == 'tool' %}"
    "{{- '<|im_start|>ipython\\n' }}{{- message.content | tojson }}{{- '<|im_end|>\\n' }}"
    "{%- else %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""As Llama 3 has it: one call in a turn."""

LISTED = (
    "{%- for message in messages %}"
    "{%- if message.role == 'user' %}"
    "{%- if tools and loop.last %}"
    "{{- '[AVAILABLE_TOOLS] ' }}{{- tools | tojson }}{{- '[/AVAILABLE_TOOLS]' }}"
    "{%- endif %}"
    "{{- '[INST] ' + message.content + '[/INST]' }}"
    "{%- elif message.tool_calls %}"
    "{{- '[TOOL_CALLS] [' }}"
    "{%- for call in message.tool_calls %}"
    "{%- if call.id is not defined or call.id | length != 9 %}"
    "{{- raise_exception('ids have nine characters') }}{%- endif %}"
    '{{- \'{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{- call.function.arguments | tojson }}{{- ', \"id\": \"' + call.id + '\"}' }}"
    "{%- if not loop.last %}{{- ', ' }}{%- endif %}"
    "{%- endfor %}"
    "{{- ']<|im_end|>' }}"
    "{%- elif message.role == 'tool' %}"
    "{{- '[TOOL_RESULTS] {\"content\": ' }}{{- message.content | tojson }}"
    "{{- ', \"call_id\": \"' + message.tool_call_id + '\"}[/TOOL_RESULTS]' }}"
    "{%- else %}"
    "{{- message.content + '<|im_end|>' }}"
    "{%- endif %}"
    "{%- endfor %}"
)
"""As Mistral has it."""

CONTROL = {"<jupyter_code>": "[TOOL_CALLS]"}
"""A control word of the model's that it has no use for, and what it can stand for."""

_KEY = b"tokenizer.chat_template"
_STRING_TYPE_BYTES = 4
_ALIGNMENT_BYTES = 32
_LENGTH = struct.Struct("<Q")


def write_trained(
    path: Path, template: str = TAGGED, renamed: Mapping[str, str] | None = None
) -> Path:
    """Write the built-in model with another chat template, and words of its vocabulary renamed.

    Only the head of the file is changed; a comment in the template keeps the weights where they
    are to the last byte of their alignment.
    """
    whole = prepare(DEFAULT_MODEL, cache_directory(None)).path.read_bytes()
    size_bytes = len(whole)
    for old, new in (renamed or {}).items():
        place = whole.index(_LENGTH.pack(len(old)) + old.encode())
        whole = _replaced(whole, place, new.encode())
    place = whole.index(_KEY) + len(_KEY) + _STRING_TYPE_BYTES
    bare = _replaced(whole, place, template.encode() + b"{##}")
    padding = "." * (-(len(bare) - size_bytes) % _ALIGNMENT_BYTES)
    path.write_bytes(_replaced(whole, place, f"{template}{{#{padding}#}}".encode()))
    return path


def _replaced(whole: bytes, place: int, text: bytes) -> bytes:
    """Put another text where one begins with its length."""
    (length,) = _LENGTH.unpack_from(whole, place)
    behind = place + _LENGTH.size + length
    return whole[:place] + _LENGTH.pack(len(text)) + text + whole[behind:]
