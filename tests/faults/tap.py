"""Every call that changes the disk passes here: of Python through ``os``, of SQLite through a VFS.

A `Tap` is laid in a process of its own that ends soon (`tests.faults.life`), since it changes the
``os`` module and SQLite's default file system for good. It numbers the calls that touch one
directory tree and asks its `Policy` before each: the policy may end the process, refuse the call,
or write down what it does to the disk.

SQLite's log needs shared memory, which a VFS in Python does not have; so the database is held in
exclusive mode, where it does without.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import apsw
import msgspec
from msgspec import Struct


class Call(Struct, frozen=True):
    """One call that changes the disk."""

    kind: str
    """create, write, truncate, sync, sync_folder, mkdir, rename, unlink or rmdir."""
    path: str
    offset: int = 0
    """Where the bytes go; of truncate, the new length."""
    data: bytes = b""
    target: str = ""
    """Of rename: the new name."""
    database: bool = False

    def half_written(self) -> Call:
        """Write the first half of the bytes, past all taps; give the call that does just that."""
        data = self.data[: len(self.data) // 2]
        with open(self.path, "r+b", buffering=0) as file:  # noqa: PTH123 - `Path.open` is tapped
            file.seek(self.offset)
            file.write(data)
        return msgspec.structs.replace(self, data=data)


class Policy:
    """Lets everything happen."""

    refuses = False
    """Whether the server may answer with failures of its own."""

    def before(self, call: Call, number: int) -> None:
        """Be asked before a call; what is raised here is what the caller gets.

        Raises:
            OSError: the disk refuses.
        """

    def after(self, call: Call) -> None:
        """Be told that a call has been made."""


class _Originals:
    """The functions of ``os`` as they were."""

    open = staticmethod(os.open)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(os.fdatasync)
    ftruncate = staticmethod(os.ftruncate)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    unlink = staticmethod(os.unlink)
    replace = staticmethod(os.replace)
    fdopen = staticmethod(os.fdopen)
    path_open = staticmethod(Path.open)


class Tap:
    """The seam, once it is laid."""

    def __init__(self, root: Path, policy: Policy) -> None:
        """Name the tree and the policy; nothing is changed yet."""
        self._root = str(root)
        self.policy = policy
        self.count = 0

    def pass_on(self, call: Call, act: Callable[[], Any]) -> Any:
        """Ask the policy, then make the call."""
        if not call.path.startswith(self._root):
            return act()
        self.count += 1
        self.policy.before(call, self.count)
        result = act()
        self.policy.after(call)
        return result

    def lay(self) -> None:
        """Change ``os``, ``Path.open`` and SQLite's default file system for good."""
        for name in ("open", "write", "fsync", "fdatasync", "ftruncate", "mkdir", "rmdir"):
            setattr(os, name, getattr(self, f"_{name}"))
        os.unlink = os.remove = self._unlink
        for name in ("replace", "rename"):
            setattr(os, name, self._replace)
        setattr(os, "fdopen", self._fdopen)  # noqa: B010 - its overloads are not ours
        tap = self

        def path_open(path: Path, mode: Any = "r", buffering: int = -1, **options: Any) -> IO[Any]:
            if mode == "wb":
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                return tap._fdopen(os.open(path, flags, 0o666), mode)
            return cast("IO[Any]", _Originals.path_open(path, mode, buffering, **options))

        setattr(Path, "open", path_open)  # noqa: B010 - as above
        self._vfs = _Vfs(self)  # known to SQLite as long as it is held
        apsw.set_default_vfs(_Vfs.NAME)
        apsw.connection_hooks.append(_exclusive)

    # of Python

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        def act() -> int:
            return _Originals.open(path, flags, mode, dir_fd=dir_fd)

        place = _place(path, dir_fd)
        if not flags & (os.O_CREAT | os.O_TRUNC):
            return act()
        if Path(place).exists():
            return int(self.pass_on(Call("truncate", place), act)) if flags & os.O_TRUNC else act()
        return int(self.pass_on(Call("create", place), act))

    def _write(self, descriptor: int, data: Any) -> int:
        place, size = _path_of(descriptor), os.fstat(descriptor).st_size
        call = Call("write", place, size, bytes(data))
        return int(self.pass_on(call, lambda: _Originals.write(descriptor, data)))

    def _fsync(self, descriptor: int) -> None:
        place = _path_of(descriptor)
        kind = "sync_folder" if Path(place).is_dir() else "sync"
        self.pass_on(Call(kind, place), lambda: _Originals.fsync(descriptor))

    def _fdatasync(self, descriptor: int) -> None:
        call = Call("sync", _path_of(descriptor))
        self.pass_on(call, lambda: _Originals.fdatasync(descriptor))

    def _ftruncate(self, descriptor: int, length: int) -> None:
        call = Call("truncate", _path_of(descriptor), length)
        self.pass_on(call, lambda: _Originals.ftruncate(descriptor, length))

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        def act() -> None:
            _Originals.mkdir(path, mode, dir_fd=dir_fd)

        place = _place(path, dir_fd)
        if Path(place).exists():
            act()
        else:
            self.pass_on(Call("mkdir", place), act)

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        call = Call("rmdir", _place(path, dir_fd))
        self.pass_on(call, lambda: _Originals.rmdir(path, dir_fd=dir_fd))

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        def act() -> None:
            _Originals.unlink(path, dir_fd=dir_fd)

        place = _place(path, dir_fd)
        if os.path.lexists(place):
            self.pass_on(Call("unlink", place), act)
        else:
            act()

    def _replace(
        self,
        source: Any,
        target: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        place = _place(source, src_dir_fd)
        call = Call("rename", place, target=_place(target, dst_dir_fd))
        self.pass_on(call, lambda: _Originals.replace(source, target))

    def _fdopen(self, descriptor: int, mode: Any = "r", *arguments: Any, **options: Any) -> IO[Any]:
        if mode == "wb":
            return cast("IO[Any]", io.BufferedWriter(_Written(descriptor)))
        return cast("IO[Any]", _Originals.fdopen(descriptor, mode, *arguments, **options))


class _Written(io.RawIOBase):
    """A file that writes through ``os.write``, where the tap sees it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)


def _place(path: Any, dir_fd: int | None) -> str:
    text = os.fspath(path)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    folder = str(Path.cwd()) if dir_fd is None else _path_of(dir_fd)
    return str(Path(folder) / text)


def _path_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


# of SQLite


def _exclusive(connection: apsw.Connection) -> None:
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    # A small job must meet the moving of the log into the database, too.
    connection.execute("PRAGMA wal_autocheckpoint=12")


class _Vfs(apsw.VFS):
    """SQLite's file system, with the tap in front."""

    NAME = "tapped"

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        super().__init__(self.NAME, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        place = name.filename() if isinstance(name, apsw.URIFilename) else name
        if place and not Path(place).exists():
            call = Call("create", place, database=True)
            made = _told(
                self._tap, call, lambda: _VfsFile(self._tap, name, flags), apsw.CantOpenError
            )
            return cast("apsw.VFSFile", made)
        return _VfsFile(self._tap, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        call = Call("unlink", filename, database=True)
        _told(self._tap, call, lambda: super(_Vfs, self).xDelete(filename, syncdir), apsw.IOError)
        if syncdir:
            folder = Call("sync_folder", str(Path(filename).parent), database=True)
            _told(self._tap, folder, lambda: None, apsw.IOError)


class _VfsFile(apsw.VFSFile):
    def __init__(self, tap: Tap, name: Any, flags: list[int]) -> None:
        self._tap = tap
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else (name or "")
        self._folder_due = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        call = Call("write", self._path, offset, bytes(data), database=True)
        _told(self._tap, call, lambda: super(_VfsFile, self).xWrite(data, offset), apsw.IOError)

    def xSync(self, flags: int) -> None:  # noqa: N802
        call = Call("sync", self._path, database=True)
        _told(self._tap, call, lambda: super(_VfsFile, self).xSync(flags), apsw.IOError)
        if self._folder_due:  # SQLite does this at the first sync of a log that it opened
            self._folder_due = False
            folder = Call("sync_folder", str(Path(self._path).parent), database=True)
            _told(self._tap, folder, lambda: None, apsw.IOError)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        call = Call("truncate", self._path, newsize, database=True)
        _told(self._tap, call, lambda: super(_VfsFile, self).xTruncate(newsize), apsw.IOError)


def _told(tap: Tap, call: Call, act: Callable[[], Any], trouble: type[apsw.Error]) -> Any:
    """Make a call of SQLite; what the policy refuses becomes one of SQLite's errors."""
    try:
        return tap.pass_on(call, act)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise (apsw.FullError if full else trouble)(str(error)) from error
