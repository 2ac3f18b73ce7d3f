"""What of Gemini's requests is not served, in one table: deleting a line opens the field.

What changes the meaning of a request is honoured or refused, never dropped.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from msgspec import structs

from nightrate.dialects.gemini_shapes import GenerationConfig, Part
from nightrate.dialects.refusals import unserved

_TEXT_ONLY = "Send text parts only."
_NO_MEDIA = "Leave it out: answers are text."

UNSERVED: Final[dict[type, dict[str, str]]] = {
    Part: {"inline_data": _TEXT_ONLY, "file_data": _TEXT_ONLY},
    GenerationConfig: {
        "speech_config": _NO_MEDIA,
        "enable_enhanced_civic_answers": "Leave it out.",
        "enable_affective_dialog": _NO_MEDIA,
        "translation_config": _NO_MEDIA,
        "audio_transcription_config": _NO_MEDIA,
    },
}
"""By shape and member: what to do instead. A member that is false or empty asks for nothing."""

_Kind = GenerationConfig | Part


class _Gate:
    """Lets a value pass that asks for nothing unserved, in one comparison."""

    def __init__(self, kind: type[_Kind]) -> None:
        wire = {member.name: member.encode_name for member in structs.fields(kind)}
        self._remedies = {name: (wire[name], text) for name, text in UNSERVED[kind].items()}
        self._members = attrgetter(*self._remedies)
        # A getter of one member gives that alone.
        self._nothing = (None,) * len(self._remedies) if len(self._remedies) > 1 else None

    def check(self, value: _Kind) -> None:
        """Refuse a value that asks for something in the table."""
        if self._members(value) != self._nothing:
            for name, (wire_name, remedy) in self._remedies.items():
                if getattr(value, name):
                    raise unserved(wire_name, remedy)


CONFIG_GATE = _Gate(GenerationConfig)
PART_GATE = _Gate(Part)
