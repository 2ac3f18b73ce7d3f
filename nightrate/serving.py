"""A server at work: its sockets, its signals, and how it begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import resource
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from nightrate import limits, telemetry
from nightrate.api.administration import create_administration
from nightrate.api.app import create_app
from nightrate.api.protocol import Protocol
from nightrate.engines.base import Progress
from nightrate.errors import SettingsFault
from nightrate.runtime import House, open_house
from nightrate.service.keys import Keys
from nightrate.settings import Settings
from nightrate.store import local_socket


class _Server(uvicorn.Server):
    """A server that leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(host: str, port: int) -> socket.socket:
    """Take an address; nobody can connect before `_listen`."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _unusable(host, port, error) from error
    bound.settimeout(0)
    return bound


def _listen(bound: socket.socket) -> None:
    try:
        bound.listen()
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise _unusable(host, port, error) from error


def _unusable(host: str, port: int, error: OSError) -> SettingsFault:
    message = f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port"
    return SettingsFault([message])


async def _require_keys(settings: Settings, keys: Keys | None) -> None:
    """Refuse to serve anybody but this machine when anybody at all would get in.

    Raises:
        SettingsFault: the host is another one, and there is no live key.
    """
    if _is_loopback(settings.host) or (keys is not None and await keys.any_live()):
        return
    message = (
        f"host {settings.host!r}: without keys the server listens on loopback only; make one"
        f" first: nightrate keys create --data {shlex.quote(settings.data)}"
    )
    raise SettingsFault([message])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Administration:
    """The second server, which commands speak to; the first one works without it."""

    def __init__(self, house: House) -> None:
        self._folder = house.directory
        self._server = _server(create_administration(house.keys, house.backups, house.index))
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        try:
            listening = local_socket.listen(self._folder)
        except OSError as error:
            telemetry.fault("commands cannot reach this server: it has no socket", error)
            return
        self._serving = asyncio.create_task(self._server.serve([listening]))

    async def stop(self) -> None:
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
            local_socket.remove(self._folder)


def _app(house: House, settings: Settings) -> Starlette:
    return create_app(
        files=house.files,
        results=house.results,
        followers=house.followers,
        batches=house.batches,
        models=house.models,
        executor=house.executor,
        webhooks=house.webhooks,
        caches=house.caches,
        keys=house.keys,
        outlooks=house.outlooks,
        readiness=house.not_ready,
        public_url=settings.public_url or None,
        changes_by_get=settings.changes_by_get,
    )


async def serve(
    settings: Settings, progress: Progress, listening: Callable[[str, str | None], None]
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once.

    Args:
        settings: what to serve and where.
        progress: told what opening engines are doing.
        listening: told the address when the server takes requests and its engines are settled,
            and why it is not ready, if it is not.

    Raises:
        SettingsFault: the settings cannot work.
        StoreFault: the data directory cannot be used.
    """
    sys.setswitchinterval(limits.THREAD_SWITCH_SECONDS)
    _want_descriptors()
    if not await asyncio.to_thread(Path(settings.data).exists):  # a refusal makes nothing
        await _require_keys(settings, None)
    sock = _bind(settings.host, settings.port)
    try:
        house = open_house(settings, _address(sock))
    except BaseException:
        sock.close()
        raise
    server = _server(_app(house, settings))
    administration = _Administration(house)
    stop = _stop_signals()
    try:
        await _require_keys(settings, house.keys)
        _listen(sock)
        async with house.working(progress):
            administration.start()
            serving = asyncio.create_task(server.serve([sock]))
            telling = asyncio.create_task(_tell(house, sock, listening))
            await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
            telling.cancel()
            house.stop()
            server.should_exit = True
            # Calls and requests of batches have the same seconds, not one after the other.
            await asyncio.gather(serving, house.drain())
            await administration.stop()
    finally:
        sock.close()
        await house.close()


def _server(app: Starlette) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            access_log=False,  # its lines would hold the query string, and so keys
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=int(limits.DRAIN_SECONDS),
        )
    )


async def _tell(
    house: House, sock: socket.socket, listening: Callable[[str, str | None], None]
) -> None:
    await house.engines_settled()
    listening(_address(sock), await house.not_ready())


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def _want_descriptors() -> None:
    """Have as many descriptors as the system allows, up to what is wanted."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.DESCRIPTORS_WANTED
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _stop_signals() -> asyncio.Future[None]:
    """Give a future that the first SIGTERM or SIGINT ends; the second ends the process."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[None] = loop.create_future()

    def ask() -> None:
        if not asked.done():
            asked.set_result(None)
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(name)  # back to the default: the next one is final

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ask)
    return asked
