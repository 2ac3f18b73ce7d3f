"""One pipeline of the embedded engine and the requests in it, from their tokens to their answers.

Requests join and leave the running batch between steps.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import Struct, structs

from nightrate.domain.generation import Prompt, Reply
from nightrate.engines.certainty import cut
from nightrate.engines.frames import Answer, raw, troubled
from nightrate.engines.likelihood import Mode
from nightrate.engines.openvino_model import Encoded, Model
from nightrate.engines.prefixes import BLOCK_TOKENS, WORTH_TOKENS, Prefixes
from nightrate.engines.streamed_text import StreamedText
from nightrate.errors import Code, RequestFailed

_LEADERS_FROM = 1 << 62
"""Their numbers are none of questions."""


class Draft:
    """An answer in the making: its tokens, and its text as far as that is certain.

    It is kept for answers that are streamed and for those with stop sequences. The library would
    look for these too, but it takes white space at their end for nothing and stops too early.
    """

    def __init__(self, model: Model, prompt: Prompt, *, streamed: bool) -> None:
        self.ids: list[int] = []
        self.logs: list[float] = []
        self.reason: Any = None
        self.stopped = False
        """Whether a stop sequence has come: the answer ends there."""
        self._decode = model.decoder(prompt)
        self._stops = prompt.sampling.stop
        self._streamed = StreamedText(prompt, model.syntax) if streamed else None

    def grow(self, number: int, handle: Any) -> list[Answer]:
        """Read the tokens of the last step, and tell what they make certain if it is streamed."""
        before = len(self.ids)
        while handle.can_read():
            (output,) = handle.read().values()
            self.ids += output.generated_ids
            self.logs += output.generated_log_probs
            self.reason = output.finish_reason
        if len(self.ids) == before:
            return []
        # From the start each time: 0.13 ms for 1,000 tokens, and right for every tokenizer.
        text = self._decode(self.ids)
        self.stopped = cut(text, self._stops)[1]
        more = self._streamed.more(text) if self._streamed is not None else ""
        return [Answer(number, raw(more), more=True)] if more else []

    def end(self, number: int, words: str) -> list[Answer]:
        """Tell what was not told yet of the finished words.

        Raises:
            RequestFailed: the words are not what they were begun with.
        """
        rest = self._streamed.rest(words) if self._streamed is not None else ""
        return [Answer(number, raw(rest), more=True)] if rest else []


class Job(Struct):
    """One question on its way through a pipeline."""

    number: int
    encoded: Encoded
    config: Any
    finish: Callable[[list[int], list[float], Any], Reply] | None
    """Makes the answer of all token ids, their logarithms and the library's reason for the end;
    None of a leader, which nobody has asked for."""
    beginnings: list[int]
    """See `prefixes`."""
    kept_blocks: int = 0
    """How many of its beginnings lie in a cached content."""
    led: bool = False
    """Whether its cached content has been read for it, or is being read."""
    reused_tokens: int = 0
    """Of the prompt, what was not computed again."""
    draft: Draft | None = None
    """Kept only where somebody looks at an unfinished answer."""
    live: bool = False
    """Whether somebody waits for it: it comes before others, and it is told when it begins."""

    @property
    def kept(self) -> list[int]:
        """Give those of its beginnings that lie in a cached content."""
        return self.beginnings[: self.kept_blocks]

    @property
    def room(self) -> int:
        """Count the cache tokens it may come to hold, in whole blocks."""
        tokens = self.encoded.tokens + int(self.config.max_new_tokens)
        return -(-tokens // BLOCK_TOKENS) * BLOCK_TOKENS


class Lane:
    """One pipeline with its jobs.

    A job is let in only when its prompt and its longest answer fit into the attention cache beside
    the others: the library would otherwise throw running work out and compute it again.
    """

    def __init__(self, model: Model, mode: Mode, seats: int) -> None:
        self._model = model
        self._pipeline, self.cache_tokens = model.pipeline(mode)
        self._seats = seats
        self._waiting: deque[Job] = deque()
        self._live: dict[int, tuple[Job, Any]] = {}
        self._held_tokens = 0
        self._prefixes = Prefixes(self.cache_tokens // BLOCK_TOKENS)
        self._reading: dict[int, tuple[Job, Any]] = {}
        self._leaders = itertools.count(_LEADERS_FROM)

    @property
    def busy(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._waiting or self._live or self._pipeline.has_non_finished_requests())

    def add(self, job: Job) -> None:
        """Queue a job; one that somebody waits for stands behind the last of these."""
        if not job.live:
            self._waiting.append(job)
            return
        live = (place for place, other in enumerate(self._waiting, 1) if other.live)
        self._waiting.insert(max(live, default=0), job)

    def cancel(self, number: int) -> None:
        """Forget a job; its place is free after the next step."""
        if number in self._live:
            _, handle = self._leave(number)
            handle.cancel()
        else:
            self._waiting = deque(job for job in self._waiting if job.number != number)

    def turn(self) -> list[Answer]:
        """Let waiting jobs in, step once, and give the answers of those that ended."""
        answers = self._admit()
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        return answers + self._collect()

    def _admit(self) -> list[Answer]:
        refused = []
        held: list[Job] = []
        while self._waiting:
            job = self._waiting[0]
            if len(self._live) >= self._seats and not job.live:
                break  # The seats are those of batches.
            if self._live and self._held_tokens + job.room > self.cache_tokens:
                break
            self._waiting.popleft()
            if self._is_being_read(job):
                held.append(job)
                continue
            if self._wants_leader(job):
                held.append(job)
                job = self._leader(job)
            try:
                handle = self._pipeline.add_request(job.number, job.encoded.ids, job.config)
            except RuntimeError as error:  # The library's only word for settings it refuses.
                refused.append(troubled(job.number, _first_line(error), Code.INVALID_ARGUMENT))
                continue
            self._live[job.number] = self._reading[job.number] = (job, handle)
            job.reused_tokens = self._reused_tokens(job)
            self._held_tokens += job.room
            self._prefixes.make_room((self.cache_tokens - self._held_tokens) // BLOCK_TOKENS)
            self._prefixes.begin(job.beginnings)
        self._waiting.extendleft(reversed(held))
        return refused

    def _is_being_read(self, job: Job) -> bool:
        """Tell whether what a job begins with is computed for another just now."""
        if self._prefixes.worth_waiting(job.beginnings):
            return True
        kept = job.kept
        return bool(kept) and not self._has_read(kept) and self._prefixes.is_reading(kept[-1])

    def _wants_leader(self, job: Job) -> bool:
        """Tell whether the cached content that a job continues must be read before it.

        So each request that continues one finds it computed, the first one, too. What is forgotten
        until the job's turn has come is read with the job, not once more before it.
        """
        return bool(job.kept) and not job.led and not self._has_read(job.kept)

    def _leader(self, job: Job) -> Job:
        """Make what reads the cached content of a job, and is asked for nothing else."""
        job.led = True
        kept = job.kept
        encoded = self._model.cut(job.encoded, len(kept) * BLOCK_TOKENS)
        return Job(next(self._leaders), encoded, self._model.reading_config(), None, kept)

    def _has_read(self, kept: list[int]) -> bool:
        return self._prefixes.read_blocks(kept) == len(kept)

    def _reused_tokens(self, job: Job) -> int:
        """Count what the pipeline does not compute again; its last token it always does.

        Of prompts that name no cached content, only what is worth telling: most chat templates
        begin alike.
        """
        tokens = self._prefixes.read_blocks(job.beginnings) * BLOCK_TOKENS
        if tokens < WORTH_TOKENS and not job.kept_blocks:
            return 0
        return min(tokens, job.encoded.tokens - 1)

    def _collect(self) -> list[Answer]:
        answers: list[Answer] = []
        for number, (job, handle) in list(self._reading.items()):
            if handle.can_read():
                del self._reading[number]
                self._prefixes.done(job.beginnings)
                if job.live:
                    answers.append(Answer(number, more=True))
        for number, (job, handle) in list(self._live.items()):
            status = handle.get_status()
            draft = job.draft
            if draft is not None:
                answers += draft.grow(number, handle)
            if status != self._model.running:
                answers += self._ended(number, status)
            elif draft is not None and draft.stopped:
                handle.stop()
                answers += self._ended(number, handle.get_status())
        return answers

    def _ended(self, number: int, status: Any) -> list[Answer]:
        job, handle = self._leave(number)
        if job.finish is None:
            return []
        if status not in self._model.finished:
            message = f"The engine dropped the request ({status.name}): its cache is full."
            return [troubled(number, message, Code.RESOURCE_EXHAUSTED, retriable=True)]
        draft = job.draft
        if draft is None:
            output = handle.read_all()[0]
            logs = list(output.generated_log_probs)
            reply = job.finish(list(output.generated_ids), logs, output.finish_reason)
            return [Answer(number, raw(_reused(reply, job.reused_tokens)))]
        reply = _reused(job.finish(draft.ids, draft.logs, draft.reason), job.reused_tokens)
        try:
            return [*draft.end(number, reply.candidates[0].text), Answer(number, raw(reply))]
        except RequestFailed as failure:
            return [troubled(number, failure.message, failure.code)]

    def _leave(self, number: int) -> tuple[Job, Any]:
        job, handle = self._live.pop(number)
        self._held_tokens -= job.room
        if self._reading.pop(number, None):
            self._prefixes.drop(job.beginnings)
        return job, handle


def _reused(reply: Reply, tokens: int) -> Reply:
    """Say of a reply how much of its prompt was not computed again."""
    return structs.replace(reply, usage=structs.replace(reply.usage, cached_tokens=tokens))


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0]
