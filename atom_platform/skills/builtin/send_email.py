"""
This skill sends a plain-text e-mail through the configured mail server.

`to` holds one address, or several separated by commas. The skill fails when the server refuses the
sender, the message or any recipient; the other recipients may then have received it. An unreachable
server and a refused login are errors. With a user name in the server's URL the connection is
encrypted before the password is sent, unless the server is on the loopback interface.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, field_validator

from atom_platform.skills import SkillFailed
from atom_platform.skills.registry import Skill, SkillInput

__all__ = ["create"]

TIMEOUT_SECONDS: Final = 10.0
MAX_RECIPIENTS: Final = 50
MAX_REASON_CHARACTERS: Final = 200

_ADDRESS: Final = re.compile(r"[^@\s<>(),;:\"\\\x00-\x20\x7f]+@[^@\s<>(),;:\"\\\x00-\x20\x7f]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class EmailInput(SkillInput):
    to: str = Field(max_length=4_096)
    subject: str = Field(max_length=500)
    body: str = Field(max_length=1_000_000)

    @field_validator("to")
    @classmethod
    def _addresses(cls, text: str) -> str:
        addresses = [each.strip() for each in text.split(",")]
        if len(addresses) > MAX_RECIPIENTS:
            raise ValueError(f"at most {MAX_RECIPIENTS} addresses")
        if not all(_ADDRESS.fullmatch(each) for each in addresses):
            raise ValueError("e-mail addresses, separated by commas")
        return ", ".join(addresses)

    @field_validator("subject")
    @classmethod
    def _one_line(cls, text: str) -> str:
        if _CONTROL.search(text):  # a line break would start a header that the caller chooses
            raise ValueError("one line, without control characters")
        return text


class SendEmail:
    """Sends through one server, with one connection per message."""

    def __init__(self, smtp_url: str, *, sender: str, timeout_seconds: float) -> None:
        self._server = urlsplit(smtp_url)
        self._sender = sender
        # Passed explicitly: the default is the name of this machine, which would go out with every
        # message and can take longer to look up than the message takes to send.
        self._domain = sender.rpartition("@")[2]
        self._timeout_seconds = timeout_seconds

    def __call__(self, asked: EmailInput) -> object:
        message = self._message(asked)
        with self._connection() as server:
            try:
                refused = server.send_message(message)
            except smtplib.SMTPRecipientsRefused as error:
                refused = error.recipients
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                reason = _reason(error.smtp_code, error.smtp_error)
                raise SkillFailed(f"The mail server refused the message: {reason}") from error
            except smtplib.SMTPNotSupportedError as error:
                raise SkillFailed("The mail server takes only ASCII addresses.") from error
        if refused:
            raise SkillFailed(_refusal(refused))
        return {"to": asked.to.split(", "), "message_id": message["Message-ID"]}

    def _message(self, asked: EmailInput) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = asked.to
        message["Subject"] = asked.subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=self._domain)
        message.set_content(asked.body)
        return message

    def _connection(self) -> smtplib.SMTP:
        host, secured = self._server.hostname or "", self._server.scheme == "smtps"
        options: dict[str, Any] = {
            "local_hostname": self._domain,
            "timeout": self._timeout_seconds,
        }
        tls = ssl.create_default_context()
        if secured:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, self._server.port or 465, context=tls, **options
            )
        else:
            server = smtplib.SMTP(host, self._server.port or 25, **options)
        try:
            if self._server.username:
                if not secured and host not in _LOOPBACK:
                    server.starttls(context=tls)
                server.login(*_credentials(self._server))
        except BaseException:
            server.close()
            raise
        return server


def create(smtp_url: str, *, sender: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Skill:
    """
    Return the skill, sending through *smtp_url* (`smtp://` or `smtps://`) as *sender*.

    Args:
        timeout_seconds: Longest wait for the server's answer to one SMTP command.
    """
    send = SendEmail(smtp_url, sender=sender, timeout_seconds=timeout_seconds)
    return Skill("send-email", __doc__ or "", EmailInput, send)


def _credentials(server: SplitResult) -> tuple[str, str]:
    return unquote(server.username or ""), unquote(server.password or "")


def _refusal(refused: Mapping[str, tuple[int, bytes]]) -> str:
    address, (code, text) = next(iter(refused.items()))
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return f"The mail server refused {address}{others}: {_reason(code, text)}"


def _reason(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"[:MAX_REASON_CHARACTERS]
