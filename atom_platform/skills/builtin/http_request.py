"""
This skill sends an HTTP request and returns the response's `status`, `headers` and `body`.

It calls only hosts on the allow-list, which is empty until an operator fills it. An entry `host`
allows every port of that host, `host:port` only that port. A `body` that is text is sent as it is,
any other value as JSON. A JSON response is also returned parsed, as `json`. Redirects are followed
while their hosts are on the list. The skill fails when the host is not allowed, when the response
is larger than 1 MiB, or when its status is 400 or above. No response at all is an error.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal
from urllib.parse import urljoin

import urllib3
from pydantic import Field, JsonValue, field_validator
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import LocationParseError
from urllib3.util import Timeout, Url, parse_url

from atom_platform.skills import SkillFailed
from atom_platform.skills.registry import Skill, SkillInput

__all__ = ["create"]

CONNECT_SECONDS: Final = 5.0
#: Longest wait for the next bytes of a response, and for its whole body.
READ_SECONDS: Final = 15.0
MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_REDIRECTS: Final = 5
CHUNK_BYTES: Final = 65_536

#: Headers of the connection, which only this skill sets.
_RESERVED: Final = frozenset(
    (
        *("connection", "content-length", "host", "keep-alive", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_PRIVATE: Final = frozenset(("authorization", "cookie"))
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]{0,8000}")


class HttpRequestInput(SkillInput):
    method: Literal["GET", "POST"] = "GET"
    url: str = Field(max_length=8_000)
    headers: dict[str, str] = Field(default_factory=dict, max_length=50)
    body: JsonValue = None

    @field_validator("url")
    @classmethod
    def _absolute(cls, text: str) -> str:
        _parsed(text)
        return text

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _RESERVED:
                raise ValueError(f"{name!r} is not a header that may be set")
            if not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the value of {name!r} is not one line of Latin-1 text")
        return headers


class HttpRequest:
    """Sends requests to hosts on the allow-list only."""

    def __init__(
        self,
        allowed_hosts: Collection[str],
        *,
        outgoing_headers: Callable[[], Mapping[str, str]],
        read_seconds: float,
    ) -> None:
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._outgoing_headers = outgoing_headers
        self._read_seconds = read_seconds
        self._pools = urllib3.PoolManager(
            num_pools=20,
            retries=False,  # a POST may have arrived: never send it twice
            timeout=Timeout(connect=CONNECT_SECONDS, read=read_seconds),
        )

    def __call__(self, asked: HttpRequestInput) -> object:
        method, body, headers = asked.method, *_payload(asked)
        headers.update(self._outgoing_headers())
        url = _parsed(asked.url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._answer(method, url, body, headers)
            location = answer.get_redirect_location()
            if not location:
                return self._output(url, answer)
            answer.close()
            target = _redirected(url, location)
            if answer.status not in (307, 308):
                method, body = "GET", None
                headers.discard("Content-Type")
            if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
                for name in _PRIVATE:
                    headers.discard(name)
            url = target
        raise SkillFailed(f"The answer redirects more than {MAX_REDIRECTS} times.")

    def _answer(
        self, method: str, url: Url, body: bytes | None, headers: HTTPHeaderDict
    ) -> urllib3.BaseHTTPResponse:
        self._must_be_allowed(url)
        # The Url that passed the check is the one connected to; a second parser could disagree.
        pool = self._pools.connection_from_host(url.host, url.port, url.scheme)
        return pool.urlopen(
            method,
            url.request_uri,
            body=body,
            headers=headers,
            redirect=False,
            preload_content=False,
            decode_content=False,  # a few KiB can decompress to gigabytes
        )

    def _must_be_allowed(self, url: Url) -> None:
        port = url.port or (443 if url.scheme == "https" else 80)
        if not self._allowed_hosts & {url.host, f"{url.host}:{port}"}:
            raise SkillFailed(f"The host {url.host} on port {port} is not on the allow-list.")

    def _output(self, url: Url, answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
        try:
            if answer.status >= 400:
                raise SkillFailed(f"{url.host} answered with status {answer.status}.")
            content = self._content(answer)
        finally:
            answer.close()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        headers.pop("set-cookie", None)  # a credential, and outputs are stored
        output: dict[str, Any] = {
            "status": answer.status,
            "headers": headers,
            "body": content.decode("utf-8", "replace"),
        }
        if re.match(r"application/([\w.-]+\+)?json\b", headers.get("content-type", "")):
            try:
                output["json"] = json.loads(content)
            except (ValueError, RecursionError):
                output["json"] = None
        return output

    def _content(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        content = bytearray()
        deadline = time.monotonic() + self._read_seconds
        while chunk := answer.read1(CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise SkillFailed("The answer is larger than 1 MiB.")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer takes too long")
        return bytes(content)


def create(
    allowed_hosts: Collection[str],
    *,
    outgoing_headers: Callable[[], Mapping[str, str]] = dict,
    read_seconds: float = READ_SECONDS,
) -> Skill:
    """
    Return the skill, calling *allowed_hosts* only.

    Args:
        outgoing_headers: Called for each run; returns headers that carry request id and trace.
        read_seconds: Longest wait for the next bytes of a response, and for its whole body. A
            server that sends its *headers* byte by byte can exceed it.
    """
    call = HttpRequest(allowed_hosts, outgoing_headers=outgoing_headers, read_seconds=read_seconds)
    return Skill("http-request", __doc__ or "", HttpRequestInput, call)


def _parsed(text: str) -> Url:
    if re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError("a URL without spaces and control characters")
    try:
        url = parse_url(text)
    except LocationParseError:
        raise ValueError("a URL such as https://host/path") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("a URL that starts with http:// or https:// and names a host")
    if url.auth is not None:
        raise ValueError("a URL without user and password; use a header")
    return url


def _redirected(url: Url, location: str) -> Url:
    try:
        return _parsed(urljoin(url.url, location))
    except ValueError as error:
        raise SkillFailed("The answer redirects to what cannot be followed.") from error


def _payload(asked: HttpRequestInput) -> tuple[bytes | None, HTTPHeaderDict]:
    headers = HTTPHeaderDict({"Accept-Encoding": "identity", "User-Agent": "atom-platform"})
    if asked.body is None or isinstance(asked.body, str):
        body = None if asked.body is None else asked.body.encode()
    else:
        body = json.dumps(asked.body).encode()
        headers["Content-Type"] = "application/json"
    headers.update(asked.headers)
    return body, headers
