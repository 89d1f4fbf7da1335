"""No secret is written, whatever contains it; everything else stays readable."""

from __future__ import annotations

import json
import string
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atom_platform.logs.encode import encode_line

SECRET = "hunter2Zq9x"
KEY_BLOCK = f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\nabc\n-----END RSA PRIVATE KEY-----"


def written(**fields: Any) -> str:
    return encode_line({"event": "e", **fields}).decode()


@pytest.mark.parametrize(
    "key",
    [
        "password", "PASSWORD", "passwd", "pwd", "db_password", "passwordHash", "user-password",
        "secret", "client_secret", "aws_secret_access_key", "token", "accessToken", "refresh_token",
        "authorization", "Authorization", "proxy-authorization", "HTTP_AUTHORIZATION", "auth",
        "cookie", "Set-Cookie", "cookies", "api_key", "apikey", "X-API-Key", "APIKey", "dsn",
        "SENTRY_DSN", "database_url", "DATABASE_URL", "private_key", "credential", "credentials",
        "session", "session_id", "sessionid", "passphrase", "jwt", "otp", "connection_string",
        # Words run together, in the middle of others.
        "myaccesskey", "myapikey", "myauthorization", "myconnectionstring", "mycookie",
        "mycredential", "mydatabaseurl", "myencryptionkey", "mypassphrase", "mypasswd",
        "mypassword", "myprivatekey", "mysecret", "mysessionid", "mysigningkey", "mysmtpurl",
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: [s], lambda s: {"a": s}, lambda s: 4711])
def test_the_value_of_a_secret_key_is_redacted(key: str, wrap: Any) -> None:
    value = wrap(SECRET)

    for fields in ({key: value}, {"nested": {"deeper": [{key: value}]}}):
        line = written(**fields)

        assert SECRET not in line
        assert "4711" not in line
        assert "[redacted]" in line


@pytest.mark.parametrize(
    "key",
    ["author", "keyboard", "passenger", "tokenizer", "path", "authority", "compass", "monkey"],
)
def test_a_key_that_only_resembles_a_secret_one_is_written(key: str) -> None:
    assert json.loads(written(**{key: "plain"}))[key] == "plain"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token_count", 12), ("max_tokens", 4096), ("tokens_used", 7.5), ("session_seconds", 3),
        ("token_ttl", 60), ("session_age", 5), ("token_bytes", 40), ("session_ms", 1.5),
        ("token_limit", 9), ("cookie_size", 100), ("cookie_length", 7), ("token_expires", 60),
    ],
)  # fmt: skip
def test_a_number_of_tokens_is_a_measurement(key: str, value: float) -> None:
    assert json.loads(written(**{key: value}))[key] == value
    assert SECRET not in written(**{key: SECRET})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"postgresql://app:{SECRET}@db:5432/atom", "postgresql://app:[redacted]@db:5432/atom"),
        (f"redis://:{SECRET}@cache/0", "redis://:[redacted]@cache/0"),
        (f"postgresql+psycopg://a:p@{SECRET}@h/d", "postgresql+psycopg://a:[redacted]@h/d"),
        (f"amqp://a:{SECRET}/x@h", "amqp://a:[redacted]@h"),
        (f"https://{SECRET}@sentry.io/1", "https://[redacted]@sentry.io/1"),
        (f"GET /x?a=1&token={SECRET}&b=2", "GET /x?a=1&token=[redacted]&b=2"),
        (f"?api_key={SECRET}", "?api_key=[redacted]"),
        (f"host=db password={SECRET} user=app", "host=db password=[redacted] user=app"),
        (f"password='{SECRET} with \\' quote' user=app", "password=[redacted] user=app"),
        (f"sslpassword={SECRET}", "sslpassword=[redacted]"),
        (f"{{'password': '{SECRET}', 'a': 1}}", "{'password': [redacted], 'a': 1}"),
        (f'{{"client_secret": "{SECRET}"}}', '{"client_secret": [redacted]}'),
        (f"Authorization: Bearer {SECRET}.abc", "Authorization: [redacted]"),
        (f"sent Bearer {SECRET}.abc-_~+/== to", "sent Bearer [redacted] to"),
        (f"Basic {SECRET}==", "Basic [redacted]"),
        (f"('Authorization', 'Basic {SECRET}')", "('Authorization', '[redacted]')"),
        (f"cookie: session={SECRET}; b={SECRET}\nnext", "cookie: [redacted]\nnext"),
        (f"AWS_SECRET_ACCESS_KEY={SECRET}", "AWS_SECRET_ACCESS_KEY=[redacted]"),
        (f"before {KEY_BLOCK} after", "before [redacted] after"),
        (f"-----BEGIN PRIVATE KEY-----\n{SECRET}", "[redacted]"),
        (f"DATABASE_URL={SECRET}", "DATABASE_URL=[redacted]"),
        (f"database_url=postgres://u:{SECRET}@h/d x", "database_url=[redacted] x"),
    ],
)  # fmt: skip
def test_a_secret_in_text_is_redacted(text: str, shown: str) -> None:
    assert json.loads(written(text=text))["text"] == shown
    assert json.loads(encode_line({"event": text}))["event"] == shown
    assert SECRET not in written(exception=f"Traceback\n  x\nValueError: {text}")
    assert SECRET not in written(values=[{"x": (text,)}])
    assert SECRET not in written(thing=ValueError(text))


@pytest.mark.parametrize(
    "text", [f"bearer\t{SECRET}", f"İİİİ password={SECRET} İ", f"authorization\n:\t{SECRET}"]
)
def test_a_secret_is_found_whatever_surrounds_it(text: str) -> None:
    """İ is longer in lower case, in which the text is searched."""
    shown = json.loads(written(said=text))["said"]

    assert shown == text.replace(SECRET, "[redacted]")


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user",
        "http://host:8080/path?mail=a@b.c",
        "https://host/a:b@c",
        "see https://example.org/ and mail ada@example.org",
        "Basic authentication is off",
        "12 tokens left of 40, token_count=12",
        "sqlite:///var/atom.db",
        "the key of the session is its name",
        "10:30:00 at 127.0.0.1:8000",
    ],
)
def test_text_without_a_secret_is_not_changed(text: str) -> None:
    assert json.loads(written(text=text))["text"] == text


safe = st.text(string.ascii_letters + string.digits + "-._~!$*+/", min_size=8, max_size=40)
FORMS = [
    "postgresql://user:{}@host/db",
    "password={}",
    "x?token={}&y=1",
    "Bearer {}",
    "Authorization: Basic {}",
    "{{'secret': '{}'}}",
    "-----BEGIN PRIVATE KEY-----{}-----END PRIVATE KEY-----",
]


@given(safe, st.sampled_from(FORMS), st.text(max_size=30), st.text(max_size=30))
def test_no_representation_reveals_a_secret(
    secret: str, form: str, before: str, after: str
) -> None:
    assume(secret not in before + after + form)
    assume(not before or (not before[-1].isalnum() and before[-1] not in "_-.+"))

    assert secret not in written(text=before + form.format(secret) + " " + after)


@given(st.text(st.characters(codec=None)))
def test_any_text_is_accepted(text: str) -> None:
    """Redaction raises for nothing, and what it leaves is still text."""
    assert isinstance(json.loads(written(text=text + " token"))["text"], str)


@pytest.mark.parametrize(
    "text",
    ["a://b:" * 40_000, "token " * 40_000, "password" * 30_000, "cookie" + " " * 200_000,
     "-----BEGIN " * 30_000 + "PRIVATE KEY", "bearer " * 40_000, "'\\" * 100_000 + "token='"],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_hostile_text_takes_bounded_time(text: str) -> None:
    before = time.process_time()
    written(text=text)

    assert time.process_time() - before < 3
