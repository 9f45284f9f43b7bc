"""The client against a server that fails in every way it knows."""

# ruff: noqa: SIM117  (a server and then its clients read better nested)

from __future__ import annotations

import base64
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from faulty_server import Faulty, completion, serving

from visift.core.errors import UsageError, VisiftError
from visift.core.files import sha256_bytes
from visift.core.types import Turn, assistant, user
from visift.remote.client import Client
from visift.remote.failures import BudgetError, RemoteError, UnusableReply
from visift.remote.limits import Limits
from visift.remote.prices import Price, price_from
from visift.remote.request import Request
from visift.remote.wire import endpoint, retry_after

pytestmark = pytest.mark.integration

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
QUICK = Limits(timeout=5, backoff=0.01)


def ask(text: str = "hello", **more: object) -> Request:
    return Request("m", (user(text),), **more)  # type: ignore[arg-type]


def status(code: int, message: str = "no", **headers: str) -> tuple[object, ...]:
    return ("status", code, {k.replace("_", "-"): v for k, v in headers.items()}, {"error": {"message": message}})


def test_wire_request_and_hash() -> None:
    turns = (Turn("system", user("be short").parts), user(0, "what?", 1), assistant("that"), user("why?"))
    request = Request("m", turns, (PNG, PNG + b"x"), max_tokens=7, extra={"seed": 3})
    body = request.body()
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    first, question, second = body["messages"][1]["content"]
    assert first["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert question == {"type": "text", "text": "what?"} and second["type"] == "image_url"
    assert (body["max_tokens"], body["seed"], body["temperature"]) == (7, 3, 0.0)
    assert request.canonical()["messages"][1]["content"][0]["image_url"]["url"] == f"sha256:{sha256_bytes(PNG)}"
    assert request.sha256 == Request("m", turns, (PNG, PNG + b"x"), max_tokens=7, extra={"seed": 3}).sha256
    others = [
        Request("n", turns, (PNG, PNG + b"x"), max_tokens=7, extra={"seed": 3}),
        Request("m", turns, (PNG + b"x", PNG), max_tokens=7, extra={"seed": 3}),
        Request("m", turns, (PNG, PNG + b"x"), max_tokens=8, extra={"seed": 3}),
        Request("m", turns, (PNG, PNG + b"x"), max_tokens=7, extra={"seed": 4}),
        Request("m", turns[1:], (PNG, PNG + b"x"), max_tokens=7, extra={"seed": 3}),
    ]
    assert len({r.sha256 for r in [request, *others]}) == 6
    assert "max_tokens" not in Request("m", turns[3:], extra={"max_completion_tokens": 5}).body()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8000", "http://h:8000/v1/chat/completions"), ("https://h/v1/", "https://h/v1/chat/completions"),
        ("http://h/api", "http://h/api/chat/completions"), ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
    ],
)  # fmt: skip
def test_address(url: str, expected: str) -> None:
    assert endpoint(url) == expected


@pytest.mark.parametrize(
    "url",
    ["h:8000/v1", "file:///etc/passwd", "http://", "http://u:p@h/v1", "http://h/v1?key=1", "http://[", "http://h:x/"],
)
def test_address_refused(url: str) -> None:
    with pytest.raises(UsageError):
        endpoint(url)


@pytest.mark.parametrize(
    "fault",
    [
        status(500), status(502), status(503), status(529), status(408), status(429), ("cut",), ("half",), ("raw", b"<html>"),
        ("raw", b"[]"), ("raw", b'{"choices": []}'), ("raw", b'{"choices": [{"message": {"content": 5}}]}'), ("raw", b"[" * 100_000),
    ],
)  # fmt: skip
def test_passing_faults_are_survived(fault: tuple[object, ...]) -> None:
    with serving(lambda n, _: fault if n < 2 else "fine") as server, Client(server.url, limits=QUICK) as client:
        reply = client.ask(ask())
        assert (reply.text, reply.finish, reply.cached, server.calls) == ("fine", "stop", False, 3)
        again = client.ask(ask())
        assert again.text == "fine" and again.cached and server.calls == 3


@pytest.mark.integration
def test_slow_server_times_out_even_when_it_drips() -> None:
    with serving(lambda n, _: [("slow", 1.5, "late"), ("drip", 0.1), "fine"][n]) as server:
        with Client(server.url, limits=Limits(timeout=0.4, backoff=0.01)) as client:
            started = time.monotonic()
            assert client.ask(ask()).text == "fine" and 0.75 < time.monotonic() - started < 1.4


def test_retries_are_bounded() -> None:
    with serving(lambda n, _: status(500, "broken")) as server:
        with Client(server.url, limits=Limits(attempts=3, backoff=0.01)) as client:
            with pytest.raises(RemoteError, match=r"500: broken, 3 times"):
                client.ask(ask())
        assert server.calls == 3


def test_nobody_listens() -> None:
    with (
        Client("http://127.0.0.1:9", limits=Limits(attempts=2, backoff=0.01)) as client,
        pytest.raises(RemoteError, match="reached"),
    ):
        client.ask(ask())


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422, 301])
def test_refusals_are_fatal(code: int) -> None:
    with serving(lambda n, _: status(code, "go away", location="http://127.0.0.1:9/")) as server:
        with Client(server.url, limits=QUICK) as client:
            for text in ("a", "b"):
                with pytest.raises(RemoteError, match=str(code)):
                    client.ask(ask(text))
        assert server.calls == 1, "after a refusal nothing more is sent"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"error": {"message": "The response was filtered", "type": None, "param": "prompt", "code": "content_filter"}}, "filtered"),
        ({"error": {"message": "unsupported", "type": "invalid_request_error", "code": "invalid_image_format"}}, "unsupported"),
        ({"error": {"message": "cannot be read", "type": "image_parse_error", "code": 400}}, "cannot be read"),
        ({"error": "inappropriate", "code": "data_inspection_failed"}, "inappropriate"),
    ],
)  # fmt: skip
def test_refusal_of_one_picture_is_no_refusal_of_all(body: dict[str, object], why: str) -> None:
    refusal = ("status", 400, {}, body)
    with serving(lambda n, asked: refusal if "unwanted" in str(asked["messages"]) else "fine") as server:
        with Client(server.url, limits=QUICK, price=Price(0, 1_000_000), max_cost=100) as client:
            refused, other = client.ask_all(ask(text, max_tokens=40) for text in ("unwanted", "b"))
            assert isinstance(refused, UnusableReply) and "400" in refused.what and why in refused.what
            assert not isinstance(other, UnusableReply) and other.text == "fine"
            assert server.calls == 2 and client.spent == 40 + 10  # the filter may be paid for, and is not asked twice


def test_refusal_with_such_a_code_but_another_status_is_fatal() -> None:
    body = {"error": {"message": "no", "code": "content_filter"}}
    with serving(lambda n, _: ("status", 403, {}, body)) as server, Client(server.url, limits=QUICK) as client:
        with pytest.raises(RemoteError, match="403"):
            client.ask(ask())


def test_used_up_quota_is_fatal() -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with serving(lambda n, _: ("status", 429, {}, body)) as server, Client(server.url, limits=QUICK) as client:
        with pytest.raises(RemoteError, match="quota"):
            client.ask(ask())
        assert server.calls == 1


@pytest.mark.integration
def test_retry_after_holds_for_every_call() -> None:
    with serving(lambda n, _: status(429, retry_after="1") if n == 0 else "fine") as server:
        with Client(server.url, limits=Limits(backoff=0.01)) as client:
            first = threading.Thread(target=client.ask, args=(ask("first"),))
            first.start()
            while not server.calls:
                time.sleep(0.01)
            time.sleep(0.2)
            client.ask(ask("second"))
            first.join()
    assert all(t - server.times[0] >= 0.98 for t in server.times[1:]) and server.calls == 3


def test_retry_after_that_is_too_long_stops() -> None:
    with serving(lambda n, _: status(429, retry_after="86400")) as server, Client(server.url, limits=QUICK) as client:
        with pytest.raises(RemoteError, match="86400"):
            client.ask(ask())


def test_retry_after_forms() -> None:
    assert retry_after("2.5") == 2.5 and retry_after("-3") == 0
    date = retry_after(formatdate(time.time() + 30, usegmt=True))
    assert date is not None and 27 < date <= 30
    assert retry_after(None) is retry_after("soon") is retry_after("nan") is None


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (completion(""), "empty"), (completion("  \n"), "empty"), (completion(None), "empty"),
        (completion("half of it", "length"), "cut off"), (completion("", "content_filter"), "filter"), (completion("nonsense"), "not a number"),
    ],
)  # fmt: skip
def test_unusable_replies_are_never_cached(tmp_path: Path, bad: dict[str, object], why: str) -> None:
    def usable(text: str) -> str | None:
        return None if text.isdigit() else "it is not a number"

    cache = tmp_path / "c.sqlite"
    with serving(lambda n, _: bad if n < 2 else completion("7")) as server:
        with Client(server.url, limits=QUICK, cache=cache) as client:
            with pytest.raises(UnusableReply, match=why):
                client.ask(ask(), usable)
            assert server.calls == 2
            assert client.ask(ask(), usable).text == "7" and server.calls == 3
        with Client(server.url, limits=QUICK, cache=cache) as client:
            assert client.ask(ask(), usable).cached and server.calls == 3
    rows = sqlite3.connect(cache).execute("SELECT text, finish FROM replies").fetchall()
    assert rows == [("7", "stop")]


def test_kept_reply_that_no_longer_serves_is_replaced(tmp_path: Path) -> None:
    with serving(lambda n, _: f"reply {n}") as server, Client(server.url, cache=tmp_path / "c") as client:
        assert client.ask(ask()).text == "reply 0"
        wanted = lambda text: None if text == "reply 1" else "old"  # noqa: E731
        assert client.ask(ask(), wanted).text == "reply 1" == client.ask(ask(), wanted).text
        assert server.calls == 2


def test_cache_survives_restarts_and_says_nothing_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIFT_API_KEY", "sk-secret-1234")
    cache = tmp_path / "deep" / "c.sqlite"
    requests = [Request("m", (user(0, f"q{k}"),), (PNG,)) for k in range(10)]
    with serving(lambda n, body: "to " + body["messages"][0]["content"][1]["text"]) as server:
        for _ in range(3):
            with Client(server.url, cache=cache) as client:
                assert [r.text for r in client.ask_all(requests)] == [f"to q{k}" for k in range(10)]  # type: ignore[union-attr]
        assert server.calls == 10 and set(server.keys) == {"Bearer sk-secret-1234"}
        assert set(server.paths) == {"/v1/chat/completions"}
    for file in cache.parent.iterdir():
        data = file.read_bytes()
        assert b"secret" not in data and base64.b64encode(PNG)[:40] not in data
    with serving(lambda n, _: status(401, "Incorrect API key provided: sk-secret-1234.")) as server:
        with Client(server.url) as client, pytest.raises(RemoteError) as caught:
            client.ask(ask())
    assert "secret" not in str(caught.value) and "[key]" in str(caught.value)


def test_broken_cache_file(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"no database, long enough to be looked at" * 40)
    with pytest.raises(VisiftError, match="no usable reply cache"):
        Client("http://127.0.0.1:9", cache=tmp_path / "c")


def test_equal_requests_at_the_same_time_are_one_call() -> None:
    with serving(lambda n, _: "fine", delay=0.2) as server, Client(server.url) as client:
        replies = list(client.ask_all([ask()] * 8))
        assert len(replies) == 8 and server.calls == 1


@pytest.mark.integration
def test_replies_come_in_order_and_the_unusable_in_their_place() -> None:
    def plan(n: int, body: dict[str, object]) -> object:
        text = body["messages"][0]["content"]  # type: ignore[index]
        return ("slow", 0.02 * (7 - int(text) % 7), "" if int(text) % 5 == 0 else f"r{text}")

    with serving(plan) as server, Client(server.url, limits=QUICK) as client:
        replies = list(client.ask_all(ask(str(k)) for k in range(40)))
    for k, reply in enumerate(replies):
        assert isinstance(reply, UnusableReply) if k % 5 == 0 else reply.text == f"r{k}"  # type: ignore[union-attr]


@pytest.mark.integration
def test_concurrency_is_bounded_grows_and_halves() -> None:
    full = threading.Event()
    holder: list[Faulty] = []

    def plan(n: int, _: object) -> str:
        """From call 20 on, hold everything until six calls are there; a seventh would show."""
        if n >= 20:
            if holder[0].busy >= 6:
                full.set()
            full.wait(10)
            time.sleep(0.05)
        return "fine"

    with serving(plan) as server, Client(server.url, limits=Limits(concurrency=6)) as client:
        holder.append(server)
        for k in range(20):
            client.ask(ask(str(k)))
        assert client.concurrency == 6 and server.busiest == 1
        list(client.ask_all(ask(f"then {k}") for k in range(30)))
        assert full.is_set() and server.busiest == 6
    with serving(lambda n, _: status(500) if n == 8 else "fine", delay=0.03) as server:
        with Client(server.url, limits=Limits(concurrency=8, backoff=0.01)) as client:
            for k in range(8):
                client.ask(ask(str(k)))
            before = client.concurrency
            client.ask(ask("8"))
            assert before / 2 <= client.concurrency < before * 0.75


@pytest.mark.integration
def test_overloaded_server_is_left_room() -> None:
    """A server that refuses more than 3 calls at a time is found out without giving up."""
    holder: list[object] = []

    def plan(n: int, _: object) -> object:
        server = holder[0]
        return status(429) if server.busy > 3 else "fine"  # type: ignore[attr-defined]

    with serving(plan, delay=0.02) as server:
        holder.append(server)
        with Client(server.url, limits=Limits(concurrency=32, backoff=0.02, attempts=20)) as client:
            assert len(list(client.ask_all(ask(str(k)) for k in range(80)))) == 80
            assert server.calls < 160 and client.concurrency < 12


@pytest.mark.integration
def test_requests_per_minute() -> None:
    with serving(lambda n, _: "fine") as server:
        with Client(server.url, limits=Limits(requests_per_minute=600)) as client:  # one in 100 ms
            list(client.ask_all(ask(str(k)) for k in range(9)))
    assert 0.8 * 0.8 < max(server.times) - min(server.times) < 2


@pytest.mark.integration
def test_tokens_per_minute() -> None:
    """Every call uses 100 + 900 tokens; at 300,000 a minute 6 calls take at least 5 x 0.2 s."""
    with serving(lambda n, _: completion("fine", "stop", 100, 900)) as server:
        with Client(server.url, limits=Limits(tokens_per_minute=300_000)) as client:
            started = time.monotonic()
            for k in range(6):
                client.ask(ask(str(k), max_tokens=900))
            assert 0.9 < time.monotonic() - started < 3


@pytest.mark.integration
def test_cost_is_capped_over_restarts(tmp_path: Path) -> None:
    """100 + 10 tokens at $10 and $100 a million are $0.002 a call; the cap of $0.0301 lets 14 through, not 16."""
    price = Price(10, 100)
    cache = tmp_path / "c"
    with serving(lambda n, _: "fine") as server:
        for _ in range(2):
            with Client(server.url, cache=cache, price=price, max_cost=0.0301) as client:
                done = 0
                with pytest.raises(BudgetError, match="cap"):
                    for k in range(30):
                        done += client.ask(ask(str(k), max_tokens=10)).text == "fine"
                assert client.spent <= 0.0301 and done == server.calls
        assert 13 <= server.calls <= 15 and client.spent == pytest.approx(0.002 * server.calls)
        with Client(server.url, cache=cache, price=price, max_cost=0.05) as client:
            assert client.ask(ask("29", max_tokens=10)).cost == pytest.approx(0.002)
            assert client.ask(ask("0", max_tokens=10)).cost == 0.0


def test_cap_holds_with_many_at_a_time_and_bad_replies_cost_too() -> None:
    with serving(lambda n, _: completion("cut", "length", 100, 10), delay=0.02) as server:
        with Client(server.url, price=Price(10, 100), max_cost=0.021) as client:
            with pytest.raises(BudgetError):
                list(client.ask_all(ask(str(k), max_tokens=10) for k in range(50)))
            assert client.spent <= 0.021
        assert server.calls <= 10


def test_call_of_unknown_fate_counts_at_its_bound(tmp_path: Path) -> None:
    with serving(lambda n, _: ("cut",)) as server:
        with Client(server.url, price=Price(0, 1_000_000), max_cost=100, cache=tmp_path / "c", limits=QUICK) as client:
            with pytest.raises(BudgetError):
                client.ask(ask(max_tokens=40))
            assert client.spent == 80 and server.calls == 2


def test_cap_needs_a_price() -> None:
    with serving(lambda n, _: "fine") as server, Client(server.url, max_cost=1) as client:
        with pytest.raises(UsageError, match="price"):
            client.ask(ask())
        assert client.ask(Request("gpt-4o", (user("x"),))).cost == pytest.approx((100 * 2.5 + 10 * 10) / 1e6)
    assert price_from("2.5,10") == Price(2.5, 10)
    for cap in (-1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="cap"):
            Client(server.url, max_cost=cap)
    for text in ("", "1", "a,b", "-1,2", "nan,1", "1,2,3"):
        with pytest.raises(UsageError):
            price_from(text)


def test_close_ends_calls_under_way() -> None:
    with serving(lambda n, _: ("slow", 3, "late")) as server:
        client = Client(server.url)
        failed: list[Exception] = []

        def work() -> None:
            try:
                client.ask(ask())
            except VisiftError as e:
                failed.append(e)

        thread = threading.Thread(target=work)
        thread.start()
        while not server.calls:
            time.sleep(0.01)
        started = time.monotonic()
        client.close()
        thread.join(2)
        assert len(failed) == 1 and time.monotonic() - started < 1
        with pytest.raises(VisiftError, match="closed"):
            client.ask(ask())


@pytest.mark.integration
def test_interrupt_ends_at_once(tmp_path: Path) -> None:
    """Ctrl-C while all threads wait for a slow server."""
    words = ["synth", "listing", "--tabletop", "30", "--out", str(tmp_path / "a"), "--teacher-model", "m", "--teacher"]
    with serving(lambda n, _: ("slow", 30, "late")) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "visift", *words, server.url], stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  a shell's background jobs ignore it
        )  # fmt: skip
        while not server.calls and process.poll() is None:
            time.sleep(0.02)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "visift: stopped; run the same command again to go on" and "Traceback" not in err
    assert time.monotonic() - started < 10


def test_models() -> None:
    with serving(lambda n, _: "fine") as server, Client(server.url) as client:
        assert client.models() == ["only-model"] and server.paths == ["/v1/models"]
