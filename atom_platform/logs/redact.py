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
_HINTS: Final = re.compile(
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
_BASIC: Final = re.compile(r"\b([Bb]asic|BASIC)(\s+)(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/]{6,}={0,2}")

# These are searched for in lower-case text: ignoring case instead takes five times as long, and a
# long text is searched while every other thread waits. The last group that took part is the secret.
_BEARER: Final = re.compile(r"""\b(?:bearer|negotiate)\s+([^\s"'<>,;)\]}]{4,})""")
_HEADER: Final = re.compile(
    r"""(?:authorization|cookie|x-api-key)(?:\\*["']?\s*[:=]\s*|\\*["']\s*,\s*(?=\\*["']))"""
    r"""(?:\\*["']([^\r\n"']+)|([^\r\n"'][^\r\n]*))"""
)
_PAIR: Final = re.compile(
    r"((?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credential|dsn|session_?id|database_url)[\w-]{0,64})"
    r"""\\*["']?\s*[=:]\s*"""
    r"""(\\*"(?:[^"\\]|\\.)*"?|\\*'(?:[^'\\]|\\.)*'?|(?:\[redacted\]|[^\s&;,)}\]"'<>])+)"""
)
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

_PUBLIC: Final = 0
_SECRET: Final = 1
_SECRET_UNLESS_NUMBER: Final = 2
#: What the log itself writes and nobody else can.
_TRUSTED: Final = 3

_classes: dict[str, int] = dict.fromkeys(
    ("timestamp", "level", "logger", "request_id", "trace_id", "span_id"), _TRUSTED
)


def _classify(key: str) -> int:
    words = [word.lower() for word in _SPLIT.findall(key)]
    joined = "".join(words)
    if not (
        any(word in _WORDS or word.removesuffix("s") in _WORDS for word in words)
        or any(compound in joined for compound in _COMPOUNDS)
    ):
        return _PUBLIC
    return _SECRET if _MEASURES.isdisjoint(words) else _SECRET_UNLESS_NUMBER


def _class_of(key: str) -> int:
    class_ = _classes.get(key)
    if class_ is None:
        class_ = _classify(key)
        if len(_classes) < 4096 and len(key) <= 256:  # nested keys may come from a client
            _classes[key] = class_
    return class_


def is_secret(key: str, value: Any) -> bool:
    """Whether *value* must not be shown under *key*."""
    class_ = _class_of(key)
    if class_ == _SECRET_UNLESS_NUMBER:
        return not isinstance(value, (int, float))
    return class_ == _SECRET


def is_plain(line: dict[str, Any]) -> bool:
    """
    Whether *line* can be written as it is: no secret key, no text that may hold a secret, no
    object.

    Every line comes through here, so it asks the cheapest questions first; yes is certain, no is
    not.
    """
    classes = _classes
    for key, value in line.items():
        class_ = classes.get(key)
        if class_ == _TRUSTED:
            continue
        if class_ != _PUBLIC and (class_ is not None or _class_of(key) != _PUBLIC):
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
            ) and _may_hold_secret(value):
                return False
        elif kind is not int and kind is not float and kind is not bool and value is not None:
            return False
    return True


def _may_hold_secret(text: str) -> bool:
    return _HINTS.search(text.lower()) is not None


def _without_password(found: re.Match[str]) -> str:
    scheme, user, password = found.groups()
    if scheme.lower().startswith(("http", "ws")) and _PORT.match(password):
        return found.group()  # host:port/path?mail=a@b holds no password
    return f"{scheme}{user}:{REDACTED}@"


def _replace_secrets(pattern: re.Pattern[str], text: str) -> str:
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters grow
        lowered = text.translate(_LOWER)
    kept, end = [], 0
    for found in pattern.finditer(lowered):
        if pattern is _PAIR and found[2].isdigit() and not is_secret(found[1], 0):
            continue  # token_count=12
        start, stop = found.span(found.lastindex or 0)
        kept.append(text[end:start])
        end = stop
    return REDACTED.join([*kept, text[end:]])


def redact_text(text: str) -> str:
    """Return *text* without the passwords of URLs, tokens, private keys and `password=…` in it."""
    lowered = text.lower()
    if _HINTS.search(lowered) is None:
        return text
    if "private key" in lowered:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    if "://" in lowered:
        text = _URL_KEY.sub(rf"\1{REDACTED}@", _URL.sub(_without_password, text))
    if "authorization" in lowered or "cookie" in lowered or "x-api-key" in lowered:
        text = _replace_secrets(_HEADER, text)
    if "bearer" in lowered or "negotiate" in lowered:
        text = _replace_secrets(_BEARER, text)
    if "basic" in lowered:
        text = _BASIC.sub(rf"\1\2{REDACTED}", text)
    if "=" in text or ":" in text:
        text = _replace_secrets(_PAIR, text)
    return text
