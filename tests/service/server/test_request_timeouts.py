"""Requests that never become complete are counted too."""

from __future__ import annotations

import json
from contextlib import ExitStack

from tests.support.client import Client
from tests.support.load import connected
from tests.support.polling import wait_until
from tests.support.service import Service

HALF_HEAD = b"PUT /echo?token=abc HTTP/1.1\r\nHos"
HALF_BODY = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"


def requests_counted(service: Service, **labels: str) -> float:
    return service.total("http_requests_total", **labels)


def test_half_requests_that_time_out_are_counted_and_logged(service: Service) -> None:
    before = requests_counted(service, endpoint="unmatched", status="408")
    with ExitStack() as stack:
        halves: list[Client] = [
            *stack.enter_context(connected(service, 3, HALF_HEAD)),
            *stack.enter_context(connected(service, 2, HALF_BODY)),
        ]
        assert {client.reply().status for client in halves} == {408}

    assert requests_counted(service, endpoint="unmatched", status="408") == before + 5
    wait_until(lambda: len(service.logged("http_request", status=408)) == 5)
    lines = service.logged("http_request", status=408)
    assert sorted((line["method"], line["path"]) for line in lines) == [
        *[("POST", "/echo")] * 2,
        *[("PUT", "/echo")] * 3,
    ]
    assert "token" not in json.dumps(lines)


def test_a_client_that_leaves_in_the_middle_of_a_body_is_counted(service: Service) -> None:
    before = requests_counted(service, endpoint="/echo", method="POST")
    with connected(service, 4, HALF_BODY):
        pass
    wait_until(lambda: requests_counted(service, endpoint="/echo", method="POST") == before + 4)

    assert service.sample("gunicorn_threads_busy") == 0
