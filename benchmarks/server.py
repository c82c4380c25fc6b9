"""The server that is measured: the real app in one process, with the comparisons mounted beside it.

Run as ``python -m benchmarks.server DATA_DIR USERS``; prints a line of JSON when it serves.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import jwt
import msgspec
import uvicorn
import uvloop
from litestar import Litestar, Request, Response, post
from mintage.http.app import create_app
from psycopg_pool import AsyncConnectionPool

from benchmarks.people import CREDITS_EACH, people
from mintage.application.services import Services
from mintage.bootstrap import running, site
from mintage.infra.identifiers import new_id
from mintage.infra.settings import Settings, secrets_of

CONVENTIONAL_SCHEMA = """
create table conventional_accounts (user_id uuid primary key, balance bigint not null check (balance >= 0));
create table conventional_transactions (
    id uuid primary key, user_id uuid not null, amount bigint not null, description text not null,
    created_at timestamptz not null default now()
);
create index on conventional_transactions (user_id, created_at desc);
"""


class Serving(msgspec.Struct):
    """What the child tells the benchmark: ports, and a token for each user."""

    port: int
    plain_port: int
    pid: int
    users: list[str]
    tokens: list[str]


async def main(data_dir: Path, count: int) -> None:
    settings = Settings(data_dir=data_dir, log_level="WARNING")
    with site(settings) as place:
        async with running(settings, place, base_url=lambda: "", worker=False) as services:
            users, tokens = await people(services, count)
            pool = AsyncConnectionPool(place.conninfo, min_size=8, max_size=8, kwargs={"autocommit": True}, open=False)
            await pool.open(wait=True)
            async with pool.connection() as connection:
                await connection.execute(CONVENTIONAL_SCHEMA)
                await connection.execute(
                    "insert into conventional_accounts select unnest(%s::uuid[]), %s", (users, CREDITS_EACH)
                )
            app = create_app(services, extra_handlers=comparisons(services, pool))
            plain = Litestar([plain_noop(secrets_of(settings).signing)], openapi_config=None, logging_config=None)
            listeners = [listener(), listener()]
            servers = [
                uvicorn.Server(
                    uvicorn.Config(
                        served,  # type: ignore[arg-type]
                        http="httptools",
                        ws="none",
                        lifespan="off",
                        access_log=False,
                        log_config=None,
                        server_header=False,
                    )
                )
                for served in (app, plain)
            ]
            ports = [one.getsockname()[1] for one in listeners]
            serving = Serving(ports[0], ports[1], os.getpid(), users, tokens)
            sys.stdout.buffer.write(msgspec.json.encode(serving) + b"\n")
            sys.stdout.buffer.flush()
            await asyncio.gather(*(server.serve(sockets=[one]) for server, one in zip(servers, listeners, strict=True)))
            await pool.close()


def comparisons(services: Services, pool: AsyncConnectionPool) -> list[Any]:
    """The no-op and the conventional way, under the same app, middleware, body and reply as consume."""
    raise NotImplementedError


def plain_noop(secret: bytes) -> Any:
    """A Litestar handler as people write it: PyJWT on each request, then the same body and reply."""

    class Body(msgspec.Struct):
        amount: int
        description: str

    decoder = msgspec.json.Decoder(Body)

    @post("/noop", status_code=200)
    async def noop(request: Request[Any, Any, Any]) -> Response[bytes]:
        token = request.headers["authorization"].removeprefix("Bearer ")
        jwt.decode(token, secret, algorithms=["HS256"])
        decoder.decode(await request.body())
        reply = {"success": True, "data": {"transaction_id": new_id(), "new_balance": 1}, "message": "积分消费成功"}
        return Response(msgspec.json.encode(reply), media_type="application/json")

    return noop


def listener() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind(("127.0.0.1", 0))
    made.listen(2048)
    return made


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
