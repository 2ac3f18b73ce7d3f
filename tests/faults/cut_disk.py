"""A disk that remembers what was not synced, so that a power cut can drop it.

Built from the calls that passed a tap, call by call. A file's bytes are durable after its own sync;
a name is durable after the sync of its folder, and not before, whatever the file's sync did: POSIX
promises no more. A cut keeps of the rest nothing, everything, or any part, also torn writes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.faults.tap import Call

SECTOR_BYTES = 512


class File(msgspec.Struct):
    """Bytes that are durable, and what was done to them since."""

    durable: bytes = b""
    pending: list[Call] = []


class Folder(msgspec.Struct):
    """Names that are durable, those that the kernel shows, and the steps between."""

    durable: dict[str, File | Folder] = {}  # type: ignore[type-arg, unused-ignore]
    shown: dict[str, File | Folder] = {}  # type: ignore[type-arg, unused-ignore]
    pending: list[Step] = []


Node = File | Folder


class Step(msgspec.Struct):
    """A change of names in one folder."""

    number: int
    """Of all changes of names on the disk."""
    names: dict[str, File | Folder | None]


class CutDisk:
    """The tree below one folder."""

    def __init__(self, root: Path) -> None:
        """Begin with what lies there now, all of it durable."""
        self._root = root
        self._top = _taken_in(root)
        self._steps = 0

    # calls

    def apply(self, call: Call, *, failed: bool = False) -> None:
        """Take in a call.

        Args:
            call: what was done.
            failed: of a sync, that it failed: the kernel shows what it was to keep, and forgets to
                keep it.
        """
        if call.kind in {"write", "truncate"}:
            self._file(call.path).pending.append(call)
        elif call.kind == "sync":
            file = self._file(call.path)
            if not failed:
                file.durable = _written(file.durable, file.pending)
            file.pending = []
        elif call.kind == "sync_folder":
            if not failed and (folder := self._folder(call.path)) is not None:
                folder.durable, folder.pending = dict(folder.shown), []
        else:
            self._rename(call)

    def _rename(self, call: Call) -> None:
        """Take in a call that makes or removes names."""
        folder, name = self._parent(call.path)
        if call.kind == "create":
            step: dict[str, Node | None] = {name: File()}
        elif call.kind == "mkdir":
            step = {name: Folder()}
        elif call.kind == "rename":
            target = Path(call.target)
            assert target.parent == Path(call.path).parent, "within one folder"
            step = {name: None, target.name: folder.shown[name]}
        else:
            step = {name: None}
        self._steps += 1
        folder.pending.append(Step(self._steps, step))
        _change(folder.shown, step)

    def _parent(self, path: str) -> tuple[Folder, str]:
        place = Path(path)
        folder = self._folder(str(place.parent))
        assert folder is not None, place
        return folder, place.name

    def _folder(self, path: str) -> Folder | None:
        node: Node = self._top
        for name in Path(path).relative_to(self._root).parts:
            assert isinstance(node, Folder)
            node = node.shown[name]
        assert isinstance(node, Folder)
        return node

    def _file(self, path: str) -> File:
        folder, name = self._parent(path)
        node = folder.shown[name]
        assert isinstance(node, File)
        return node

    # the cut

    def cut(self, target: Path, chance: random.Random) -> None:
        """Write down what a cut now may leave."""
        share = chance.choice((0.0, 0.0, 0.5, 0.5, 0.9, 1.0))
        # A journaling file system keeps the order of what happened to names: the end is lost.
        last = round(self._steps * (share if share in {0.0, 1.0} else chance.random()))
        _leave(self._top, target, last, share, chance)


def _taken_in(place: Path) -> Folder:
    found: dict[str, Node] = {}
    for path in place.iterdir():
        found[path.name] = _taken_in(path) if path.is_dir() else File(path.read_bytes())
    return Folder(durable=found, shown=dict(found))


def _change(names: dict[str, Node], step: dict[str, Node | None]) -> None:
    for name, node in step.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _written(content: bytes, calls: list[Call]) -> bytes:
    held = bytearray(content)
    for call in calls:
        if call.kind == "truncate":
            del held[call.offset :]
            held.extend(bytes(call.offset - len(held)))
        else:
            held.extend(bytes(max(0, call.offset - len(held))))
            held[call.offset : call.offset + len(call.data)] = call.data
    return bytes(held)


def _leave(folder: Folder, place: Path, last: int, share: float, chance: random.Random) -> None:
    """Make a folder as the cut leaves it: with the changes of names up to the last one."""
    place.mkdir(exist_ok=True)
    names = dict(folder.durable)
    for step in folder.pending:
        if step.number <= last:
            _change(names, step.names)
    for name, node in names.items():
        if isinstance(node, Folder):
            _leave(node, place / name, last, share, chance)
        else:
            survivors = list(_survivors(node.pending, share, chance))
            (place / name).write_bytes(_written(node.durable, survivors))


def _survivors(calls: list[Call], share: float, chance: random.Random) -> Iterator[Call]:
    """Choose the writes that reached the disk without a sync: any of them, some in part."""
    for call in calls:
        if chance.random() >= share:
            continue
        if share < 1.0 and call.kind == "write" and chance.random() < 0.2:
            sectors = chance.randint(0, len(call.data) // SECTOR_BYTES)
            yield msgspec.structs.replace(call, data=call.data[: sectors * SECTOR_BYTES])
        else:
            yield call
