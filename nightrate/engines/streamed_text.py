"""The words of an answer in the making, told piece by piece as far as nothing can change them."""

from __future__ import annotations

from nightrate.domain.generation import Prompt
from nightrate.engines.call_syntaxes import CallSyntax
from nightrate.engines.certainty import certain
from nightrate.engines.told import decides
from nightrate.errors import Code, RequestFailed


class StreamedText:
    """What was told of an answer, and what may be told next.

    Args:
        prompt: what is answered.
        syntax: how the model writes calls by itself; None of one that was not trained to.
    """

    def __init__(self, prompt: Prompt, syntax: CallSyntax | None) -> None:
        self._stops = prompt.sampling.stop
        self._syntax = syntax if decides(prompt) else None
        self._wordless = prompt.calling is not None and self._syntax is None
        self._told = ""

    def more(self, text: str) -> str:
        """Give what of an unfinished text is certain by now, and was not told yet."""
        sure = self._certain(text)
        if len(sure) <= len(self._told) or not sure.startswith(self._told):
            return ""  # Nothing new; or else `rest` says what is wrong.
        told, self._told = self._told, sure
        return sure[len(told) :]

    def rest(self, words: str) -> str:
        """Give what was not told yet of the finished words.

        Raises:
            RequestFailed: they do not begin with what was told.
        """
        if not words.startswith(self._told):
            message = "The model's tokenizer changed a text that had been sent already."
            raise RequestFailed(message, code=Code.INTERNAL)
        return words[len(self._told) :]

    def _certain(self, text: str) -> str:
        if self._wordless:
            return ""  # It has to be a call, and calls are told whole.
        sure = certain(text, self._stops)
        return sure if self._syntax is None else self._syntax.words_of_cut(sure)
