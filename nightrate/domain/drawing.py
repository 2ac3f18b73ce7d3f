"""What engines that draw have in common: texts to draw by, and texts beside pictures.

Most draw by one text, and whoever says something about a picture holds it to what was asked. Four
characters are reckoned as a token, where nobody counts better.
"""

from __future__ import annotations

from nightrate import limits
from nightrate.domain.generation import FinishReason, Prompt, Sampling
from nightrate.errors import Code, RequestFailed

_FIELDS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
"""Settings by the name that clients know, and by ours."""


def one_text(prompt: Prompt, *, seeded: bool) -> str:
    """Give the text that a prompt is drawn by: its instructions, and then its turn.

    Args:
        prompt: what is asked for.
        seeded: whether the engine takes a seed.

    Raises:
        RequestFailed: it has several turns, media, or settings about tokens: none are drawn by.
    """
    for name, ours in _FIELDS.items():
        if getattr(prompt.sampling, ours) is not None and not (seeded and name == "seed"):
            message = f"{name}: what draws behind this model has no such setting; leave it out."
            raise RequestFailed(message, code=Code.UNIMPLEMENTED)
    if prompt.media:
        message = f"{prompt.media[0].field}: what draws here draws by a text alone; leave it out."
        raise RequestFailed(message, code=Code.UNIMPLEMENTED)
    if len(prompt.messages) > 1:
        message = "contents: what draws behind this model takes a single turn; send one."
        raise RequestFailed(message, code=Code.UNIMPLEMENTED)
    return "\n\n".join(text for text in (prompt.system, prompt.messages[0].words) if text)


def held_to(text: str, sampling: Sampling) -> tuple[str, FinishReason]:
    """Cut a text at the stop sequences and at the output limit."""
    for stop in sampling.stop:
        text = text.partition(stop)[0]
    most = sampling.max_output_tokens
    if most is not None and len(text) > most * limits.BYTES_PER_TOKEN:
        return text[: most * limits.BYTES_PER_TOKEN], FinishReason.LENGTH
    return text, FinishReason.STOP


def tokens_of(text: str) -> int:
    """Reckon the tokens of a text."""
    return -(-len(text) // limits.BYTES_PER_TOKEN)


def prompt_tokens_of(prompt: Prompt) -> int:
    """Reckon the tokens of a prompt; it has at least one."""
    return sum(map(tokens_of, (prompt.system or "", *(one.words for one in prompt.messages)))) or 1
