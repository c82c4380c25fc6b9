"""The main job against a running server, narrated: people register, buy, generate, are refunded, and the audit agrees.

Everything it makes lies in demo-output/: the pictures, the server's log, and its data directory.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import httpx

OUTPUT = Path("demo-output")
DATA = OUTPUT / "data"
STYLES = ("realistic", "cartoon", "oil-painting", "3d-render", "watercolor", "cyberpunk")
PROMPT = "一只可爱的小猫在花园里玩耍"
START_S = 60.0


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def step(title: str) -> None:
    say(f"\n== {title}")


@contextmanager
def server() -> Iterator[str]:
    """`mintage serve` on a free port with a fresh data directory, stopped at the end."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    log = OUTPUT / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(mintage("serve", "--port", "0"), stderr=sink, stdout=sink)
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def mintage(*command: str) -> list[str]:
    return [sys.executable, "-m", "mintage", *command, "--data-dir", str(DATA)]


def told_by(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command} exited with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"serving on (http://\S+),", log.read_text())
        if found:
            return found.group(1)
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


class Story:
    """One client talking to the server; every reply is checked, so that the demo cannot lie."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.bearer: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Any = None, *, expect: int = 200, key: str | None = None) -> Any:
        headers = {**self.bearer, "Idempotency-Key": key} if key else self.bearer
        reply = self.http.request(method, path, json=body, headers=headers)
        if reply.status_code != expect:
            raise SystemExit(f"{method} {path} answered {reply.status_code}: {reply.text}")
        return reply.json()

    def balance(self) -> int:
        return int(self.ask("GET", "/api/credits/balance")["data"]["balance"])

    def save(self, url: str, name: str) -> Path:
        picture = self.http.get(url)
        picture.raise_for_status()
        path = OUTPUT / name
        path.write_bytes(picture.content)
        return path


def _first_mail() -> Path:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for path in (DATA / "outbox").glob("*.eml"):
            return path
        time.sleep(0.02)
    raise SystemExit("no mail came")


def register(story: Story) -> None:
    step("Somebody registers by the server document, and proves their address")
    email = "demo@example.com"
    body = {"email": email, "password": "password123", "name": "小明"}
    user = story.ask("POST", "/api/auth/register", body)["data"]["user"]
    say(f"registered {user['name']} <{user['email']}>, e-mail verified: {user['email_verified']}")
    refused = story.ask("POST", "/api/auth/login", {"email": email, "password": "password123"}, expect=403)
    say(f"signing in is refused: {refused['error']} ({refused['message']})")
    mail = message_from_bytes(_first_mail().read_bytes(), policy=default)
    part = mail.get_body(("plain",))
    assert part is not None
    found = re.search(r"\b\d{6}\b", part.get_content())
    assert found is not None
    say(f"the mail in {DATA / 'outbox'} says: {found.group()}")
    body = {"email": email, "code": found.group(), "type": "verification"}
    token = story.ask("POST", "/api/auth/verify-email", body)["data"]["token"]
    story.bearer = {"Authorization": f"Bearer {token}"}
    say(f"verified; the sign-up gift makes the balance {story.balance()}")


def buy(story: Story) -> None:
    step("They buy credits from the sandbox gateway, twice by accident, with one Idempotency-Key")
    body = {"amount": 20, "payment_method": "wechat"}
    first = story.ask("POST", "/api/credits/recharge", body, key="demo-recharge")
    again = story.ask("POST", "/api/credits/recharge", body, key="demo-recharge")
    assert first == again
    say(f"CNY 20 brought {first['data']['credits_added']} credits; the repeat brought the same reply and nothing more")
    say(f"the balance is {story.balance()}")
    spent = story.ask("POST", "/api/credits/consume", {"amount": 10, "description": "生成AI图片"})
    say(f"10 credits are spent directly; the balance is {spent['data']['new_balance']}")
    refused = story.ask("POST", "/api/credits/consume", {"amount": 100_000, "description": "太多"}, expect=402)
    say(f"100,000 more are refused: {refused['error']}, {refused['details']}")


def generate(story: Story) -> None:
    step("They generate one picture in each style, then a transparent one, then four at once")
    for style in STYLES:
        body = {"prompt": PROMPT, "style": style, "transparent": False, "count": 1}
        began = time.monotonic()
        data = story.ask("POST", "/api/images/generate", body)["data"]
        path = story.save(data["images"][0]["url"], f"{style}.png")
        say(f"{path}: {data['credits_consumed']} credits, {time.monotonic() - began:.1f} s")
    body = {"prompt": "a robot", "style": "3d-render", "transparent": True, "count": 1}
    say(str(story.save(story.ask("POST", "/api/images/generate", body)["data"]["images"][0]["url"], "transparent.png")))
    body = {"prompt": "a beautiful landscape at sunset", "style": "watercolor", "count": 4}
    data = story.ask("POST", "/api/images/generate", body)["data"]
    for number, image in enumerate(data["images"], 1):
        say(str(story.save(image["url"], f"landscape-{number}.png")))
    say(f"four pictures of one request cost {data['credits_consumed']}; {data['remaining_credits']} credits remain")


def transform(story: Story) -> None:
    step("On the v1 document, one of their pictures is painted over, and set in motion")
    source = story.ask("GET", "/api/v1/works?pageSize=1")["data"]["list"][0]["result_url"]
    wishes: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (
            "image-to-image",
            "repainted.png",
            {"prompt": "the same at night, in the snow", "parameters": {"strength": 0.6}},
        ),
        ("image-to-video", "film.mp4", {"prompt": "animate this image", "parameters": {"duration": 5}}),
    )
    for path, name, wish in wishes:
        began = time.monotonic()
        task = story.ask("POST", f"/api/v1/generate/{path}", {**wish, "source_image_url": source})["data"]
        while task["status"] in {"pending", "processing"}:
            time.sleep(0.2)
            task = story.ask("GET", f"/api/v1/generate/tasks/{task['id']}")["data"]
        if task["status"] != "completed":
            raise SystemExit(f"{path} came to {task}")
        saved = story.save(task["result_url"], name)
        say(f"{saved}: {task['computing_power_used']} credits, {time.monotonic() - began:.1f} s")


def watch(story: Story) -> None:
    step("What a film would cost is asked first; then it is watched until it is done")
    parameters = {"duration": 5}
    quote = story.ask("POST", "/api/v1/generate/quote", {"task_type": "text2video", "parameters": parameters})["data"]
    # It is learned from films that were made: of the first nobody knows.
    seconds = quote["estimated_seconds"]
    how_long = "nobody knows yet how long it takes" if seconds is None else f"done in about {seconds} s"
    say(f"{quote['price']} credits, {how_long}; {quote['available']} are there")
    body = {"prompt": "a cat playing with a ball", "parameters": parameters}
    task = story.ask("POST", "/api/v1/generate/text-to-video", body)["data"]
    ended = False
    with story.http.stream("GET", f"/api/v1/generate/tasks/{task['uuid']}/events", headers=story.bearer) as events:
        for line in events.iter_lines():
            name, _, said = line.partition(": ")
            if name == "event":
                ended = said == "end"
            elif name == "data":
                told = json.loads(said)
                say(f"{told['status']}, {told['progress']} %")
    if not ended or told["status"] != "completed":
        raise SystemExit("the stream broke off before the task was done")
    say(f"{story.save(told['result_url'], 'ball.mp4')}: {told['computing_power_used']} credits")


def refund(story: Story) -> None:
    step("One generation fails, and everything held for it comes back")
    before = story.balance()
    body = {"prompt": "a castle [fail]", "style": "realistic"}
    failed = story.ask("POST", "/api/images/generate", body, expect=502)
    say(f"answer: {failed['error']} ({failed['message']})")
    say(f"balance before {before}, after {story.balance()}: nothing was charged")
    assert story.balance() == before


def other_document(story: Story) -> None:
    step("The same account on the v1 document: a task that is cancelled while it waits or works")
    say(f"computing_power: {story.ask('GET', '/api/v1/auth/me')['data']['computing_power']}")
    body = {
        "task_type": "text2img",
        "model_provider": "stability",
        "model_name": "stable-diffusion-xl",
        "prompt": "a beautiful landscape",
        "parameters": {"width": 2048, "height": 2048, "count": 4},
    }
    task = story.ask("POST", "/api/v1/generate/text-to-image", body)
    held = story.ask("GET", "/api/v1/auth/me")["data"]["held_computing_power"]
    say(f"{task['message']} task {task['data']['id']}, {held} credits held")
    cancelled = story.ask("POST", f"/api/v1/generate/tasks/{task['data']['id']}/cancel")
    say(f"{cancelled['message']}: {cancelled['data']['billing']}")
    works = story.ask("GET", "/api/v1/works?page=1&pageSize=5&status=completed&work_type=image")["data"]
    say(f"{works['total']} works are completed")


def statement(story: Story) -> None:
    step("The statement, newest first")
    for line in story.ask("GET", "/api/credits/transactions?limit=8")["data"]["transactions"]:
        sign = "+" if line["type"] == "recharge" else "-"
        say(f"{line['created_at']}  {sign}{line['amount']:<4} {line['balance_after']:>4} left  {line['description']}")


def receipt(story: Story) -> None:
    step("They have one line of it proved, by a file that needs nothing of mintage")
    line = story.ask("GET", "/api/credits/transactions?limit=1")["data"]["transactions"][0]
    kept, key = OUTPUT / "receipt.json", story.ask("GET", "/api/credits/receipt-key")["data"]["key"]
    kept.write_text(json.dumps(story.ask("GET", f"/api/credits/transactions/{line['id']}/receipt")))
    said = told_by([sys.executable, "tools/verify_receipt.py", str(kept), "--key", key])
    say(f"{kept}: {said}")


def books() -> None:
    step("mintage audit trial-balance: every account, in credits and in fen")
    say(told_by(mintage("audit", "trial-balance")))


def audit() -> None:
    step("mintage audit verify: the whole log replayed, beside the running server")
    say(told_by(mintage("audit", "verify")))


def main() -> None:
    began = time.monotonic()
    step("mintage serve, with its own PostgreSQL")
    with server() as address, httpx.Client(base_url=address, timeout=90) as http:
        say(f"serving on {address} after {time.monotonic() - began:.1f} s; its log is {OUTPUT / 'server.log'}")
        story = Story(http)
        for chapter in (register, buy, generate, transform, watch, refund, other_document, statement, receipt):
            chapter(story)
        books()
        audit()
    say(f"\nDone in {time.monotonic() - began:.0f} s. The pictures and the films are in {OUTPUT}/")


if __name__ == "__main__":
    main()
