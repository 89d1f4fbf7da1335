"""http-request against real servers on loopback: what it sends, follows, takes and refuses."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3
from pydantic import ValidationError

from atom_platform.skills import SkillFailed
from atom_platform.skills.builtin import http_request
from tests.support.ports import free_port
from tests.support.stalls import scaled

MEGABYTE = 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    """Answers as its path says, and writes down what it was asked."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        seen = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, seen, self.rfile.read(length)))
        status, headers, body = self.server.answers.get(self.path, (404, {}, b"nothing here"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is what some tests want."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join(scaled(10))


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(name="other")
def _other() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def call(
    *allowed_hosts: str,
    outgoing: dict[str, str] | None = None,
    read_seconds: float = 5,
    **asked: Any,
) -> Any:
    skill = http_request.create(
        allowed_hosts, outgoing_headers=lambda: outgoing or {}, read_seconds=read_seconds
    )
    return skill.run(skill.input_model.model_validate(asked))


def test_positive_get(server: Server) -> None:
    server.answers["/a?b=c"] = (200, {"X-Word": "yes", "Set-Cookie": "secret=1"}, "héllo".encode())

    output = call("127.0.0.1", url=f"{server.url}/a?b=c")

    assert output["status"] == 200
    assert output["body"] == "héllo"
    assert output["headers"]["x-word"] == "yes"
    assert "set-cookie" not in output["headers"]
    assert "json" not in output


def test_positive_json(server: Server) -> None:
    server.answers["/"] = (
        201,
        {"Content-Type": "application/vnd.x+json; charset=utf-8"},
        b'{"items": [1, 2]}',
    )

    output = call("127.0.0.1", method="POST", url=server.url, body={"a": "é"})

    assert output["json"] == {"items": [1, 2]}
    assert output["body"] == '{"items": [1, 2]}'
    ((method, path, headers, body),) = server.seen
    assert (method, path) == ("POST", "/")
    assert json.loads(body) == {"a": "é"}
    assert headers["content-type"] == "application/json"


def test_text_is_sent_as_it_is(server: Server) -> None:
    server.answers["/"] = (200, {}, b"")

    call("127.0.0.1", method="POST", url=server.url, body="a=é", headers={"content-type": "x/y"})

    ((_, _, headers, body),) = server.seen
    assert body == "a=é".encode()
    assert headers["content-type"] == "x/y"


def test_carries_the_request_on(server: Server) -> None:
    server.answers["/"] = (200, {}, b"")

    call("127.0.0.1", url=server.url, headers={"X-A": "1"}, outgoing={"X-Request-ID": "req-1"})

    ((_, _, headers, _),) = server.seen
    assert (headers["x-request-id"], headers["x-a"]) == ("req-1", "1")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_negative_status(server: Server, status: int) -> None:
    server.answers["/"] = (status, {}, b"details")

    with pytest.raises(SkillFailed, match=f"answered with status {status}"):
        call("127.0.0.1", url=server.url)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ((), "http://127.0.0.1:{port}/"),
        (("localhost",), "http://127.0.0.1:{port}/"),
        (("127.0.0.1:1",), "http://127.0.0.1:{port}/"),
        (("127.0.0.1",), "http://127.1:{port}/"),
        (("127.0.0.1",), "http://2130706433:{port}/"),
        (("127.0.0.1",), "http://127.0.0.1.:{port}/"),
        (("example.org",), "http://127.0.0.1:{port}/@example.org/"),
        (("example.org",), "http://127.0.0.1:{port}\\@example.org/"),
        (("example.org",), "http://127.0.0.1:{port}?@example.org/"),
        (("example.org",), "http://127.0.0.1:{port}#@example.org/"),
    ],
)
def test_negative_host(server: Server, allowed: tuple[str, ...], url: str) -> None:
    with pytest.raises(SkillFailed, match="not on the allow-list"):
        call(*allowed, url=url.format(port=server.server_port))

    assert server.seen == []


def test_an_entry_may_name_a_port(server: Server) -> None:
    server.answers["/"] = (200, {}, b"yes")

    output = call(f"127.0.0.1:{server.server_port}", url=f"{server.url}/")

    assert output["body"] == "yes"


def test_unreachable_is_an_error() -> None:
    with pytest.raises(urllib3.exceptions.HTTPError):
        call("127.0.0.1", url=f"http://127.0.0.1:{free_port()}/")


def test_silence_is_an_error() -> None:
    """A server that accepts and says nothing is waited for as long as was said."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(urllib3.exceptions.TimeoutError):
            call("127.0.0.1", url=url, read_seconds=0.1)


def test_dripping_is_an_error() -> None:
    """Every wait is short, and the whole is too long."""

    def drip(listener: socket.socket, stop: threading.Event) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener, stop))
        thread.start()
        try:
            with pytest.raises(TimeoutError, match="takes too long"):
                call(
                    "127.0.0.1",
                    url=f"http://127.0.0.1:{listener.getsockname()[1]}/",
                    read_seconds=0.5,
                )
        finally:
            stop.set()
            thread.join(scaled(10))


class TestRedirects:
    def test_are_followed_on_the_list(self, server: Server, other: Server) -> None:
        server.answers["/a"] = (302, {"Location": "b"}, b"")
        server.answers["/b"] = (301, {"Location": f"{other.url}/c"}, b"")
        other.answers["/c"] = (200, {}, b"here")

        output = call("127.0.0.1", url=f"{server.url}/a")

        assert output["body"] == "here"

    def test_off_the_list_are_not(self, server: Server, other: Server) -> None:
        server.answers["/"] = (302, {"Location": f"http://localhost:{other.server_port}/"}, b"")

        with pytest.raises(SkillFailed, match="localhost on port"):
            call("127.0.0.1", url=server.url)

        assert other.seen == []

    @pytest.mark.parametrize(
        "location",
        [
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "http://a:b@127.0.0.1/",
            "http://[::1/",
        ],
    )
    def test_to_what_is_no_web_page_are_not(self, server: Server, location: str) -> None:
        server.answers["/"] = (302, {"Location": location}, b"")

        with pytest.raises(SkillFailed, match="cannot be followed"):
            call("127.0.0.1", url=server.url)

    def test_in_a_circle_end(self, server: Server) -> None:
        server.answers["/"] = (302, {"Location": "/"}, b"")

        with pytest.raises(SkillFailed, match="more than 5 times"):
            call("127.0.0.1", url=server.url)

        assert len(server.seen) == 6

    @pytest.mark.parametrize(("status", "method"), [(302, "GET"), (303, "GET"), (307, "POST")])
    def test_keep_the_method_when_they_say_so(
        self, server: Server, status: int, method: str
    ) -> None:
        server.answers["/"] = (status, {"Location": "/b"}, b"")
        server.answers["/b"] = (200, {}, b"")

        call("127.0.0.1", method="POST", url=server.url, body={"a": 1})

        assert [seen[0] for seen in server.seen] == ["POST", method]
        assert ("content-type" in server.seen[1][2]) is (method == "POST")
        assert server.seen[1][3] == (b'{"a": 1}' if method == "POST" else b"")

    def test_to_another_server_take_no_credentials_along(
        self, server: Server, other: Server
    ) -> None:
        server.answers["/"] = (302, {"Location": f"{other.url}/"}, b"")
        other.answers["/"] = (200, {}, b"")

        call("127.0.0.1", url=server.url, headers={"Authorization": "secret", "X-Word": "yes"})

        assert server.seen[0][2]["authorization"] == "secret"
        assert "authorization" not in other.seen[0][2]
        assert other.seen[0][2]["x-word"] == "yes"


class TestSize:
    def test_a_megabyte_is_taken(self, server: Server) -> None:
        server.answers["/"] = (200, {}, b"x" * MEGABYTE)

        assert len(call("127.0.0.1", url=server.url)["body"]) == MEGABYTE

    def test_a_byte_more_is_not(self, server: Server) -> None:
        server.answers["/"] = (200, {}, b"x" * (MEGABYTE + 1))

        with pytest.raises(SkillFailed, match="larger than 1 MiB"):
            call("127.0.0.1", url=server.url)

    def test_packed_bytes_stay_packed(self, server: Server) -> None:
        """Nobody asked for gzip; what comes all the same is not blown up."""
        packed = gzip.compress(b"x" * 50 * MEGABYTE)
        server.answers["/"] = (200, {"Content-Encoding": "gzip"}, packed)

        assert len(call("127.0.0.1", url=server.url)["body"]) <= len(packed)
        assert server.seen[0][2]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "asked",
    [
        {"url": "ftp://127.0.0.1/"},
        {"url": "file:///etc/passwd"},
        {"url": "127.0.0.1"},
        {"url": "//127.0.0.1/"},
        {"url": "http:///path"},
        {"url": "http://user:password@127.0.0.1/"},
        {"url": "http://127.0.0.1:99999/"},
        {"url": "http://127.0.0.1/\r\nX-Evil: yes"},
        {"url": "http://127.0.0.1/a b"},
        {"url": "http://127.0.0.1/", "method": "DELETE"},
        {"url": "http://127.0.0.1/", "headers": {"Host": "other"}},
        {"url": "http://127.0.0.1/", "headers": {"transfer-encoding": "chunked"}},
        {"url": "http://127.0.0.1/", "headers": {"X-A": "1\r\nX-Evil: yes"}},
        {"url": "http://127.0.0.1/", "headers": {"X-A\r\nX-Evil": "yes"}},
        {"url": "http://127.0.0.1/", "headers": {"": "yes"}},
        {"url": "http://127.0.0.1/", "verify": False},
    ],
)
def test_nothing_can_be_slipped_in(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        call("127.0.0.1", **asked)
