"""The server that is measured: the real app in one process, with the comparisons mounted beside it.

Run as ``python -m benchmarks.server DATA_DIR USERS [chain]``; prints a line of JSON when it serves. With ``chain`` it
prints another one when debits have come in for long enough to say what hash chain and seals cost.
"""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import jwt
import msgspec
import uvicorn
import uvloop
from litestar import Litestar, Request, Response, post
from psycopg_pool import AsyncConnectionPool

from benchmarks.chain import Meter
from benchmarks.people import CREDITS_EACH, people
from mintage.bootstrap import running
from mintage.cli.serving import server_config
from mintage.domain.credits.decider import InsufficientCredits
from mintage.http.app import create_app
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.replies import Json
from mintage.infra.garbage import collect_seldom
from mintage.infra.identifiers import new_id
from mintage.infra.settings import Settings, secrets_of
from mintage.infra.site import site

CONVENTIONAL_SCHEMA = """
create table conventional_accounts (user_id uuid primary key, balance bigint not null check (balance >= 0));
create table conventional_transactions (
    id uuid primary key, user_id uuid not null, amount bigint not null, description text not null,
    created_at timestamptz not null default now()
);
create index on conventional_transactions (user_id, created_at desc);
"""


class Serving(msgspec.Struct):
    """What the child tells the benchmark: its ports, and a token for each user."""

    port: int
    plain_port: int
    pid: int
    users: list[str]
    tokens: list[str]


async def main(data_dir: Path, count: int, *, chain: bool) -> None:
    settings = Settings(data_dir=data_dir, log_level="WARNING")
    with site(settings) as place:
        meter = Meter(place, data_dir) if chain else None
        async with running(settings, place, base_url=lambda: "", worker=False) as services:
            users, tokens = await people(services, count)
            pool = AsyncConnectionPool(place.conninfo, min_size=8, max_size=8, kwargs={"autocommit": True}, open=False)
            await pool.open(wait=True)
            async with pool.connection() as connection:
                await connection.execute(CONVENTIONAL_SCHEMA)
                await connection.execute(
                    "insert into conventional_accounts select unnest(%s::uuid[]), %s", (users, CREDITS_EACH)
                )
            app = create_app(services, extra_handlers=comparisons(pool))
            plain = Litestar([plain_noop(secrets_of(settings).signing)], openapi_config=None, logging_config=None)
            listeners = [listener(), listener()]
            servers = [uvicorn.Server(server_config(served)) for served in (app, plain)]
            collect_seldom()
            # uvicorn hands a signal on when it is done with it; what ends this process is the end of its servers.
            signal.signal(signal.SIGTERM, lambda *_: None)
            ports = [one.getsockname()[1] for one in listeners]
            serving = Serving(ports[0], ports[1], os.getpid(), users, tokens)
            say(serving)
            work = [server.serve(sockets=[one]) for server, one in zip(servers, listeners, strict=True)]
            if meter is not None:
                work.append(measured(meter))
            await asyncio.gather(*work)
            await pool.close()


async def measured(meter: Meter) -> None:
    say(await meter.run())


def say(what: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


class Spend(msgspec.Struct):
    """The body of consume, as the server document has it."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


TAKE = "update conventional_accounts set balance = balance - %s where user_id = %s and balance >= %s returning balance"
ENTER = "insert into conventional_transactions (id, user_id, amount, description) values (%s, %s, %s, %s)"
REPLY = msgspec.json.Encoder()


def reply(transaction_id: str, new_balance: int) -> Json:
    data = {"transaction_id": transaction_id, "new_balance": new_balance}
    return Json(REPLY.encode({"success": True, "data": data, "message": "积分消费成功"}))


def comparisons(pool: AsyncConnectionPool) -> list[Any]:
    """The no-op and the conventional way, under the same app, middleware, body and reply as consume."""
    spend = Body(Spend)

    @post("/api/bench/noop", status_code=200)
    async def noop(request: Call) -> Json:
        await request.caller()
        await request.read(spend)
        return reply(new_id(), 1)

    @post("/api/bench/conventional", status_code=200)
    async def conventional(request: Call) -> Json:
        caller = await request.caller()
        asked = await request.read(spend)
        transaction_id = new_id()
        async with pool.connection() as connection, connection.transaction():
            taken = await connection.execute(TAKE, (asked.amount, caller.user_id, asked.amount))
            row = await taken.fetchone()
            if row is None:
                raise InsufficientCredits(required=asked.amount, available=0)
            await connection.execute(ENTER, (transaction_id, caller.user_id, asked.amount, asked.description))
        return reply(transaction_id, row[0])

    return [noop, conventional]


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
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), chain="chain" in sys.argv[3:]))
