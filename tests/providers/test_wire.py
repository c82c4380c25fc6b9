"""What every adapter sends goes where it should and nowhere else, over connections that are still there."""

import json
from collections.abc import AsyncIterator

import httpx

from mintage.application.providers import Finished
from mintage.infra.providers.replicate import Options, Replicate
from mintage.infra.providers.wire import Wire
from tests.providers.cases import REPLICATE, job_of
from tests.providers.server import KEY, painted


async def test_the_key_goes_to_the_provider_alone() -> None:
    """Its files lie with another host, which is reached over https only; a transport stands in for both."""
    seen: list[httpx.Request] = []
    urls = ["https://replicate.delivery/a.png", "https://pbxt.replicate.delivery/expired.png"]

    async def body(content: bytes) -> AsyncIterator[bytes]:
        yield content

    def answered(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.host == "api.replicate.com":
            prediction = {"id": "pred1", "status": "succeeded", "output": urls}
            return httpx.Response(200, content=body(json.dumps(prediction).encode()))
        status = 403 if "expired" in request.url.path else 200
        return httpx.Response(status, content=body(painted()), headers={"content-type": "image/png"})

    wire = Wire("https://api.replicate.com/v1", KEY, 5.0, httpx.MockTransport(answered))
    adapter = Replicate(wire, Options(inputs={}))
    assert await adapter.poll(job_of(REPLICATE), "pred1") == Finished((painted(), None))
    await adapter.close()
    assert [str(request.url) for request in seen] == ["https://api.replicate.com/v1/predictions/pred1", *urls]
    assert ["authorization" in request.headers for request in seen] == [True, False, False]
