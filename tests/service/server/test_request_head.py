"""Where a request belongs, by its first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atom_platform.server.request_head import ProbeRequest, RequestKind, classify, probe_request
from atom_platform.trace_context import parse_trace_context
from tests.support.client import get

KUBELET = get("/health/live", "User-Agent: kube-probe/1.31", "Accept: */*", "Connection: close")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(b"G", RequestKind.INCOMPLETE_HEAD, id="first-byte"),
        pytest.param(get("/")[:-1], RequestKind.INCOMPLETE_HEAD, id="all-but-the-last"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", RequestKind.ORDINARY, id="no-headers"),
        pytest.param(get("/"), RequestKind.ORDINARY, id="request"),
        pytest.param(get("/healthy/live"), RequestKind.ORDINARY, id="other-path"),
        pytest.param(get("/health/live"), RequestKind.LIVENESS, id="live"),
        pytest.param(get("/health/live", method="HEAD"), RequestKind.LIVENESS, id="live-head"),
        pytest.param(get("/health/live?verbose"), RequestKind.LIVENESS, id="live-query"),
        pytest.param(get("/health/live/"), RequestKind.LIVENESS, id="live-slash"),
        pytest.param(get("/health/lively"), RequestKind.HEALTH, id="nearly-live"),
        pytest.param(get("/health/live/x"), RequestKind.HEALTH, id="below-live"),
        pytest.param(get("/health/ready"), RequestKind.HEALTH, id="ready"),
        pytest.param(get("/health/metrics?name[]=up"), RequestKind.HEALTH, id="metrics"),
        pytest.param(get("/health/ready", method="POST"), RequestKind.ORDINARY, id="post"),
        pytest.param(get("http://x/health/live"), RequestKind.ORDINARY, id="absolute"),
        pytest.param(
            get("/health/ready", "Content-Length: 5"), RequestKind.INCOMPLETE_BODY, id="probe-body"
        ),
        pytest.param(
            get("/health/ready", "content-LENGTH: 0"), RequestKind.ORDINARY, id="probe-no-body"
        ),
        pytest.param(
            get("/health/ready", "Transfer-Encoding: chunked"),
            RequestKind.ORDINARY,
            id="probe-chunked",
        ),
        pytest.param(
            get("/health/ready", "Expect: 100-continue"), RequestKind.ORDINARY, id="expect"
        ),
        pytest.param(
            get("/", "Content-Length: 65536"), RequestKind.INCOMPLETE_BODY, id="largest-body"
        ),
        pytest.param(get("/", "Content-Length: 65537"), RequestKind.ORDINARY, id="larger-body"),
        pytest.param(
            get("/", "Content-Length: 5") + b"abcde", RequestKind.ORDINARY, id="whole-body"
        ),
        pytest.param(get("/", "Content-Length: -5"), RequestKind.ORDINARY, id="negative"),
        pytest.param(get("/", "Content-Length: 5, 5"), RequestKind.ORDINARY, id="list"),
        pytest.param(
            get("/", "Content-Length: 5", "Content-Length: 6"),
            RequestKind.ORDINARY,
            id="two-lengths",
        ),
        pytest.param(
            get("/", "Content-Length: 5", "Expect: 100-continue"),
            RequestKind.ORDINARY,
            id="asks-first",
        ),
        pytest.param(b"GET / HTTP/1.1\n", RequestKind.ORDINARY, id="bare-newline"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\n", RequestKind.ORDINARY, id="bare-newline-later"),
        pytest.param(
            b"GET / HTTP/1.1\r\nA: " + b"b" * 65_536, RequestKind.OVERLONG_HEAD, id="endless"
        ),
    ],
)
def test_kind(data: bytes, kind: RequestKind) -> None:
    assert classify(data).kind is kind


def test_half_a_body_says_how_much_is_wanted() -> None:
    head = get("/", "Content-Length: 7")

    assert classify(head + b"abc").length == len(head) + 7


@given(
    data=st.sampled_from(
        [
            get("/health/live"),
            get("/", "Content-Length: 3") + b"abc",
            b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
            b"GET /\r\r\n\nHTTP/1.1\r\n\r\n",
        ]
    ),
    cuts=st.lists(st.integers(0, 60), max_size=8).map(sorted),
)
def test_pieces_are_judged_like_the_whole(data: bytes, cuts: list[int]) -> None:
    """However it was cut, the first verdict that is no wait says the same of the bytes so far."""
    scanned = 0
    for cut in [*cuts, len(data)]:
        seen = bytearray(data[:cut])

        verdict = classify(seen, scanned=scanned)

        assert verdict == classify(bytes(seen))
        if verdict.kind is not RequestKind.INCOMPLETE_HEAD:
            break
        scanned = len(seen)


def test_a_probe_of_kubelet_is_live() -> None:
    assert probe_request(KUBELET) == ProbeRequest(
        "GET", "/health/live", "1.1", False, None, None, accept="*/*"
    )


def test_a_scrape_of_prometheus_is_one() -> None:
    head = get(
        "/health/metrics",
        "User-Agent: Prometheus/2.42.0",
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
        "Accept-Encoding: gzip",
        "X-Prometheus-Scrape-Timeout-Seconds: 10",
    )

    request = probe_request(head)

    assert request is not None
    assert request.is_scrape
    assert request.accept == "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
    assert request.accept_encoding == "gzip"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    ("connection", "keep_alive"),
    [("", None), ("close", False), ("Close", False), ("keep-alive", True), ("Keep-Alive", True)],
)
def test_keeping_alive(version: str, connection: str, keep_alive: bool | None) -> None:
    headers = [f"Connection: {connection}"] if connection else []

    request = probe_request(get("/health/live", *headers, version=version))

    assert request is not None
    assert request.keep_alive is (version == "1.1" if keep_alive is None else keep_alive)


def test_identifiers_are_taken_from_this_very_request() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    head = get("/health/live", "X-Request-ID: a.B-1", f"traceparent: {trace}")

    first, without, again = (
        probe_request(head),
        probe_request(get("/health/live")),
        probe_request(head),
    )

    assert (
        first
        == again
        == ProbeRequest("GET", "/health/live", "1.1", True, "a.B-1", parse_trace_context(trace))
    )
    assert without == ProbeRequest("GET", "/health/live", "1.1", True, None, None)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(get("/health/live?x"), id="query"),
        pytest.param(get("/health/live/"), id="slash"),
        pytest.param(get("/health/metrics?name[]=up"), id="some-metrics"),
        pytest.param(get("/health/metrics", "Authorization: Bearer x"), id="token"),
        pytest.param(get("/health/live", version="1.2"), id="version"),
        pytest.param(get("/health/live", method="OPTIONS"), id="method"),
        pytest.param(b"GET /health/live HTTP/1.1\r\n\r\n", id="no-host"),
        pytest.param(get("/health/live", "Host: again"), id="two-hosts"),
        pytest.param(get("/health/live").replace(b"localhost", b"a b"), id="odd-host"),
        pytest.param(get("/health/live", "X-Forwarded-For: 1.2.3.4"), id="forwarded"),
        pytest.param(get("/health/live", "X-Request-Start: t=1"), id="queue-time"),
        pytest.param(get("/health/live", "Cookie: a=b"), id="unknown"),
        pytest.param(get("/health/live", "Upgrade: h2c"), id="upgrade"),
        pytest.param(get("/health/live", "Accept: \xff"), id="not-ascii"),
        pytest.param(get("/health/live", "Accept: \x01"), id="control"),
        pytest.param(get("/health/live", "X_Request_ID: x"), id="underscore"),
        pytest.param(get("/health/live", "Accept : x"), id="space-before-colon"),
        pytest.param(get("/health/live", "Accept: a", " b"), id="folded"),
        pytest.param(get("/health/live", "Connection: close, te"), id="connection-list"),
        pytest.param(get("/health/live", "Accept: " + "a" * 5000), id="long"),
        pytest.param(KUBELET[:-1], id="cut"),
        pytest.param(KUBELET + b"x", id="more"),
    ],
)
def test_whatever_is_unusual_is_left_to_the_application(head: bytes) -> None:
    assert probe_request(head) is None
