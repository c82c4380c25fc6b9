"""What ``mintage serve`` and ``mintage work`` run: the API with its worker and followers, or workers alone."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
import uvloop

from mintage.application.ports.news import News
from mintage.bootstrap import running
from mintage.http.app import create_app
from mintage.infra.garbage import collect_seldom
from mintage.infra.log_lines import Repeats
from mintage.infra.settings import Settings
from mintage.infra.site import site
from mintage.infra.store import Lost

HEARTBEAT_S: Final = 5.0

_log = logging.getLogger("mintage")


def serve(settings: Settings, options: argparse.Namespace) -> int:
    _log_to_stderr(settings)
    with _listener(settings) as listener, site(settings) as place:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        address = settings.public_url.rstrip("/") or f"http://{shown}:{port}"

        async def run() -> None:
            async with running(settings, place, base_url=lambda: address, worker=not options.no_worker) as services:
                config = server_config(create_app(services, unavailable=(Lost,)), settings.trusted_proxies)
                server = _Server(config, services.news)
                # uvicorn hands a signal on when it is done with it; without these that would kill us before the drain.
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, server.handle_exit)
                collect_seldom()
                if not services.terms.gateways:
                    _log.warning("there is no gateway: nobody can buy credits, /api/credits/recharge answers 503")
                _log.info("serving on http://%s:%d, data in %s", shown, port, settings.data_dir)
                await server.serve(sockets=[listener])
            _log.info("drained and stopped")

        uvloop.run(run())
    return 0


class _Server(uvicorn.Server):
    """Lets those go who wait for images or watch a task as soon as it is told to stop; the work goes on elsewhere."""

    def __init__(self, config: uvicorn.Config, news: News) -> None:
        super().__init__(config)
        self._news = news

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._news.release()
        super().handle_exit(sig, frame)


def server_config(app: Any, trusted_proxies: str = "") -> uvicorn.Config:
    """How the app is served, here and in the benchmarks; ``trusted_proxies`` are as in the settings."""
    proxies = _proxies(trusted_proxies)
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=10,
        server_header=False,
        # By itself uvicorn believes whoever connects from loopback.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
    )


def _proxies(trusted: str) -> list[str]:
    """For uvicorn: also as the IPv6 networks in which a listener on ``::`` sees IPv4 peers."""
    networks = [ip_network(part.strip()) for part in trusted.split(",") if part.strip()]
    mapped = [f"::ffff:{one.network_address}/{96 + one.prefixlen}" for one in networks if one.version == 4]
    return [*map(str, networks), *mapped]


def work(settings: Settings, options: argparse.Namespace) -> int:
    _log_to_stderr(settings)
    with site(settings) as place:

        async def run() -> None:
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            async with running(settings, place, base_url=lambda: settings.public_url) as services:
                _log.info("working on the tasks of %s", settings.data_dir)
                while not stop.is_set():
                    if options.heartbeat is not None:
                        await _beat(options.heartbeat, services.ready)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(HEARTBEAT_S):
                            await stop.wait()
            _log.info("drained and stopped")

        uvloop.run(run())
    return 0


async def _beat(heartbeat: Path, ready: Callable[[], Awaitable[bool]]) -> None:
    """Show whoever watches a process without a port that it runs and reaches the database."""
    if await ready():
        await asyncio.to_thread(heartbeat.touch)
    else:
        _log.warning("no heartbeat: the database does not answer")


def _listener(settings: Settings) -> "contextlib.closing[socket.socket]":
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
    listener.listen(2048)
    return contextlib.closing(listener)


def _log_to_stderr(settings: Settings) -> None:
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repeats())
    for chatty in ("uvicorn", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
