"""
Secrets never reach the log: not under a key that names one, not inside a URL, a header or a
traceback.

A finished line is first searched for the few words that every secret comes with; only a line that
holds one of them is taken apart.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["REDACTED", "is_secret", "may_hold_secret", "redact_text"]

REDACTED: Final = "[redacted]"

#: A key is secret when one of its words, or its plural, is one of these …
_WORDS: Final = frozenset(
    {
        "auth",
        "authorization",
        "cookie",
        "credential",
        "dsn",
        "jwt",
        "otp",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
        "session",
        "token",
    }
)
#: … or when it holds one of these, its words run together.
_COMPOUNDS: Final = (
    "accesskey",
    "apikey",
    "authorization",
    "connectionstring",
    "cookie",
    "credential",
    "databaseurl",
    "encryptionkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "sessionid",
    "signingkey",
    "smtpurl",
)
#: With one of these words a number is a measurement, not a secret: `token_count=12`.
_MEASURES: Final = frozenset(
    {
        "age",
        "bytes",
        "count",
        "duration",
        "expires",
        "length",
        "limit",
        "max",
        "min",
        "ms",
        "remaining",
        "seconds",
        "size",
        "tokens",
        "total",
        "ttl",
        "usage",
        "used",
    }
)
_SPLIT: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

#: Lower-case bytes, one of which stands in every line that `redact_text` or `is_secret` would
#: change.
_NEEDLES: Final = (
    b"pass",
    b"pwd",
    b"secret",
    b"token",
    b"auth",
    b"cookie",
    b"credential",
    b"session",
    b"bearer",
    b"basic",
    b"negotiate",
    b"key",
    b"dsn",
    b"jwt",
    b"otp",
    b"url",
    b"connection",
)

_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# Greedy to the last @: an unescaped one in a password must not let half of it through. Bounded: a
# text made of "a://b:" would otherwise take quadratic time.
_URL: Final = re.compile(
    r"""([a-zA-Z][a-zA-Z0-9+.-]{0,31}://)([^\s:/?#@"'<>]{0,256}):([^\s"'<>]{0,512})@"""
)
_URL_KEY: Final = re.compile(r"""([hH][tT][tT][pP][sS]?://)[^\s:/?#@"'<>]{1,512}@""")
_PORT: Final = re.compile(r"[0-9]{1,5}(?:[/?#]|$)")
_BEARER: Final = re.compile(r"(?i)\b(bearer|negotiate)(\s+)[\w.~+/-]{4,}=*")
_BASIC: Final = re.compile(r"\b([Bb]asic|BASIC)(\s+)(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/]{6,}={0,2}")
_HEADER: Final = re.compile(
    r"""(?i)(authorization|cookie|x-api-key)(\\*["']?\s*[:=]\s*|\\*["']\s*,\s*(?=\\*["']))"""
    r"""(?:(\\*["'])[^\r\n"']+|[^\r\n"'][^\r\n]*)"""
)
_PAIR: Final = re.compile(
    r"(?i)(passw(?:or)?d|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credential|\bdsn|session_?id|database_url)"
    r"""([\w-]{0,64}\\*["']?\s*[=:]\s*)"""
    r"""(\\*"(?:[^"\\]|\\.)*"?|\\*'(?:[^'\\]|\\.)*'?|[^\s&;,)}\]"'<>]+)"""
)

_verdicts: dict[str, bool | None] = {}


def _judge(key: str) -> bool | None:
    """Whether *key* names a secret; None when a number under it would be harmless."""
    words = [word.lower() for word in _SPLIT.findall(key)]
    joined = "".join(words)
    secret = any(word in _WORDS or word.removesuffix("s") in _WORDS for word in words) or any(
        compound in joined for compound in _COMPOUNDS
    )
    if secret and not _MEASURES.isdisjoint(words):
        return None
    return secret


def is_secret(key: str, value: Any) -> bool:
    """Whether *value* must not be shown under *key*."""
    try:
        verdict = _verdicts[key]
    except KeyError:
        verdict = _judge(key)
        if len(_verdicts) < 4096 and len(key) <= 256:  # nested keys may come from a client
            _verdicts[key] = verdict
    if verdict is None:
        return not isinstance(value, (int, float))
    return verdict


def may_hold_secret(line: bytes) -> bool:
    """
    Whether *line*, already encoded, must be looked at closely. Cheap; errs on the side of yes.
    """
    if b"://" in line and b"@" in line:
        return True
    lowered = line.lower()
    return any(needle in lowered for needle in _NEEDLES)


def _without_password(found: re.Match[str]) -> str:
    scheme, user, password = found.groups()
    if scheme.lower().startswith(("http", "ws")) and _PORT.match(password):
        return found.group()  # host:port/path?mail=a@b holds no password
    return f"{scheme}{user}:{REDACTED}@"


def _without_value(found: re.Match[str]) -> str:
    name, separator, value = found.groups()
    if value.isdigit() and name.lower() == "token" and not is_secret(name + separator, 0):
        return found.group()
    return f"{name}{separator}{REDACTED}"


def redact_text(text: str) -> str:
    """Return *text* without the passwords of URLs, tokens, private keys and `password=…` in it."""
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    if "://" in text:
        text = _URL_KEY.sub(rf"\1{REDACTED}@", _URL.sub(_without_password, text))
    text = _HEADER.sub(rf"\1\2\g<3>{REDACTED}", text)
    text = _BASIC.sub(rf"\1\2{REDACTED}", _BEARER.sub(rf"\1\2{REDACTED}", text))
    return _PAIR.sub(_without_value, text)
