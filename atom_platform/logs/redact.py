"""
Secrets never reach the log: not under a key that names one, not inside a URL, a header or a
traceback.

Most lines hold none and are let through by a few cheap questions; only the others are taken apart.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["REDACTED", "is_plain", "is_secret", "redact_text"]

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

#: One of these, lower-case, stands in every text that `redact_text` would change.
_NEEDLES: Final = re.compile(
    r"pass|pwd|secret|token|auth|cookie|credential|session|bearer|basic|negotiate|key|dsn|database_url"
    r"|://"
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
_BEARER: Final = re.compile(r"""(?i)\b(bearer|negotiate)(\s+)[^\s"'<>,;)\]}]{4,}""")
_BASIC: Final = re.compile(r"\b([Bb]asic|BASIC)(\s+)(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/]{6,}={0,2}")
_HEADER: Final = re.compile(
    r"""(?i)(authorization|cookie|x-api-key)(\\*["']?\s*[:=]\s*|\\*["']\s*,\s*(?=\\*["']))"""
    r"""(?:(\\*["'])[^\r\n"']+|[^\r\n"'][^\r\n]*)"""
)
_PAIR: Final = re.compile(
    r"(?i)(passw(?:or)?d|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credential|\bdsn|session_?id|database_url)"
    r"""([\w-]{0,64}\\*["']?\s*[=:]\s*)"""
    r"""(\\*"(?:[^"\\]|\\.)*"?|\\*'(?:[^'\\]|\\.)*'?|(?:\[redacted\]|[^\s&;,)}\]"'<>])+)"""
)

_HARMLESS: Final = 0
_SECRET: Final = 1
_SECRET_UNLESS_NUMBER: Final = 2
#: What the log itself writes and nobody else can.
_OWN: Final = 3

_verdicts: dict[str, int] = dict.fromkeys(
    ("timestamp", "level", "logger", "request_id", "trace_id", "span_id"), _OWN
)


def _judge(key: str) -> int:
    words = [word.lower() for word in _SPLIT.findall(key)]
    joined = "".join(words)
    if not (
        any(word in _WORDS or word.removesuffix("s") in _WORDS for word in words)
        or any(compound in joined for compound in _COMPOUNDS)
    ):
        return _HARMLESS
    return _SECRET if _MEASURES.isdisjoint(words) else _SECRET_UNLESS_NUMBER


def _verdict(key: str) -> int:
    verdict = _verdicts.get(key)
    if verdict is None:
        verdict = _judge(key)
        if len(_verdicts) < 4096 and len(key) <= 256:  # nested keys may come from a client
            _verdicts[key] = verdict
    return verdict


def is_secret(key: str, value: Any) -> bool:
    """Whether *value* must not be shown under *key*."""
    verdict = _verdict(key)
    if verdict == _SECRET_UNLESS_NUMBER:
        return not isinstance(value, (int, float))
    return verdict == _SECRET


def is_plain(line: dict[str, Any]) -> bool:
    """
    Whether *line* can be written as it is: no secret key, no text that may hold a secret, no
    object.

    Every line comes through here, so it asks the cheapest questions first; yes is certain, no is
    not.
    """
    verdicts = _verdicts
    for key, value in line.items():
        verdict = verdicts.get(key)
        if verdict == _OWN:
            continue
        if verdict != _HARMLESS and (verdict is not None or _verdict(key) != _HARMLESS):
            return False
        kind = type(value)
        if kind is str:
            # Nothing that is looked for does without one of these.
            if (
                ":" in value
                or "=" in value
                or " " in value
                or "'" in value
                or "\n" in value
                or "\t" in value
            ) and _may_hold(value):
                return False
        elif kind is not int and kind is not float and kind is not bool and value is not None:
            return False
    return True


def _may_hold(text: str) -> bool:
    return _NEEDLES.search(text.lower()) is not None


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
    if not _may_hold(text):
        return text
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    if "://" in text:
        text = _URL_KEY.sub(rf"\1{REDACTED}@", _URL.sub(_without_password, text))
    text = _HEADER.sub(rf"\1\2\g<3>{REDACTED}", text)
    text = _BASIC.sub(rf"\1\2{REDACTED}", _BEARER.sub(rf"\1\2{REDACTED}", text))
    return _PAIR.sub(_without_value, text)
