"""send-email against a real SMTP server: what it is given, and what it does with a no."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import ValidationError

from atom_platform.skills import SkillFailed
from atom_platform.skills.builtin import send_email
from tests.support.ports import free_port

GOOD = {"to": "ada@example.org", "subject": "Hello", "body": "How are you?\n"}


class Mailbox:
    """An SMTP server's handler: keeps what is sent, and refuses who is called nobody."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if b"spam" in envelope.content:
            return "554 5.7.1 we do not want that"
        self.envelopes.append(envelope)
        return "250 OK"

    def message(self) -> EmailMessage:
        (envelope,) = self.envelopes
        return message_from_bytes(envelope.content, policy=default)


class MailServer:
    """A running server on loopback."""

    def __init__(self, **options: Any) -> None:
        self.mailbox = Mailbox()
        self.port = free_port()
        self.controller = Controller(self.mailbox, hostname="127.0.0.1", port=self.port, **options)
        self.controller.start()

    def url(self, credentials: str = "") -> str:
        return f"smtp://{credentials}127.0.0.1:{self.port}"


@pytest.fixture(name="server")
def _server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.controller.stop()


def send(url: str, **asked: str) -> Any:
    skill = send_email.create(url, sender="atom@example.com", timeout_seconds=5)
    return skill.run(skill.input_model.model_validate({**GOOD, **asked}))


def test_positive(server: MailServer) -> None:
    output = send(server.url(), subject="Grüße", body="Wie geht's?\n.\nÉ\n")

    message = server.mailbox.message()
    assert message["From"] == "atom@example.com"
    assert message["To"] == "ada@example.org"
    assert message["Subject"] == "Grüße"
    assert message.get_content().replace("\r\n", "\n") == "Wie geht's?\n.\nÉ\n"
    assert output == {"to": ["ada@example.org"], "message_id": message["Message-ID"]}


def test_does_not_tell_the_name_of_this_machine(server: MailServer) -> None:
    send(server.url())

    assert server.mailbox.message()["Message-ID"].endswith("@example.com>")


def test_sends_to_several(server: MailServer) -> None:
    send(server.url(), to="ada@example.org , bob@example.org")

    (envelope,) = server.mailbox.envelopes
    assert envelope.rcpt_tos == ["ada@example.org", "bob@example.org"]


def test_negative_recipient_refused(server: MailServer) -> None:
    with pytest.raises(SkillFailed, match=r"refused nobody@example\.org: 550 5\.1\.1 no such user"):
        send(server.url(), to="nobody@example.org")


def test_negative_one_of_two_refused(server: MailServer) -> None:
    with pytest.raises(SkillFailed, match="refused nobody@example"):
        send(server.url(), to="ada@example.org,nobody@example.org")

    (envelope,) = server.mailbox.envelopes
    assert envelope.rcpt_tos == ["ada@example.org"]


def test_negative_message_refused(server: MailServer) -> None:
    with pytest.raises(SkillFailed, match="refused the message: 554"):
        send(server.url(), body="spam")


def test_negative_server_without_utf8_addresses() -> None:
    server = MailServer(enable_SMTPUTF8=False)
    try:
        with pytest.raises(SkillFailed, match="ASCII"):
            send(server.url(), to="jürgen@example.org")
    finally:
        server.controller.stop()


def test_unreachable_is_an_error() -> None:
    with pytest.raises(ConnectionRefusedError):
        send(f"smtp://127.0.0.1:{free_port()}")


#: aiosmtpd warns of what this server is meant to be, again for each connection.
UNENCRYPTED = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


def authenticator(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
    good = isinstance(data, LoginPassword) and data == LoginPassword(b"atom", b"p@ss:word")
    return AuthResult(success=good, handled=False)


@pytest.fixture(name="guarded")
def _guarded() -> Iterator[MailServer]:
    """A server that wants a password, and takes it unencrypted as a local one may."""
    server = MailServer(authenticator=authenticator, auth_required=True, auth_require_tls=False)
    yield server
    server.controller.stop()


@UNENCRYPTED
def test_logs_in(guarded: MailServer) -> None:
    send(guarded.url("atom:p%40ss%3Aword@"))

    assert len(guarded.mailbox.envelopes) == 1


@UNENCRYPTED
def test_wrong_password_is_an_error(guarded: MailServer) -> None:
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(guarded.url("atom:guess@"))


def test_password_does_not_leave_this_machine_unencrypted(server: MailServer) -> None:
    """This server offers no STARTTLS, and it is not called by a name that means this machine."""
    with pytest.raises(smtplib.SMTPNotSupportedError, match="STARTTLS"):
        send(f"smtp://atom:secret@127.1:{server.port}")

    assert server.mailbox.envelopes == []


@pytest.mark.parametrize(
    "asked",
    [
        {"subject": "Hello\r\nBcc: eve@example.org"},
        {"subject": "Hello\nBcc: eve@example.org"},
        {"subject": "Hello\u2028Bcc: eve@example.org"},
        {"subject": "Hello\x00"},
        {"to": "ada@example.org\r\nBcc: eve@example.org"},
        {"to": "ada@example.org>\r\nRCPT TO:<eve@example.org"},
        {"to": "Ada <ada@example.org>"},
        {"to": "ada@example.org,"},
        {"to": "ada"},
        {"to": ""},
        {"to": ",".join(["ada@example.org"] * 51)},
        {"reply_to": "eve@example.org"},
    ],
)
def test_nothing_can_be_slipped_in(asked: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        send("smtp://127.0.0.1:1", **asked)


def test_a_body_may_look_like_headers(server: MailServer) -> None:
    send(server.url(), body="Bcc: eve@example.org\r\n\r\n.\r\nMAIL FROM:<eve@example.org>\r\n")

    (envelope,) = server.mailbox.envelopes
    assert envelope.rcpt_tos == ["ada@example.org"]
    assert server.mailbox.message()["Bcc"] is None
