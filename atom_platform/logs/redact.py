"""
Removes secrets from log lines: values under secret keys, and secrets in URLs, headers and text.

Most lines hold none and pass a few cheap tests; only the others are searched.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["REDACTED", "is_plain", "is_secret", "redact_text"]

REDACTED: Final = "[redacted]"

#: A key is secret if one of its words, or the singular of one, is one of these …
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
#: … or if its words, joined, contain one of these.
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
#: With one of these words in the key a number is a measurement: `token_count=12`.
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

#: Every text that `redact_text` changes contains one of these, in lower case.
_HINTS: Final = re.compile(
    r"pass|pwd|secret|token|auth|cookie|credential|session|bearer|basic|negotiate|key|dsn|database_url"
    r"|://"
)

_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# Greedy up to the last @, because a password may hold an unescaped one. Bounded, because a text of
# repeated "a://b:" would otherwise take quadratic time.
_URL: Final = re.compile(
    r"""([a-zA-Z][a-zA-Z0-9+.-]{0,31}://)([^\s:/?#@"'<>]{0,256}):([^\s"'<>]{0,512})@"""
)
_URL_KEY: Final = re.compile(r"""([hH][tT][tT][pP][sS]?://)[^\s:/?#@"'<>]{1,512}@""")
_PORT: Final = re.compile(r"[0-9]{1,5}(?:[/?#]|$)")
_BASIC: Final = re.compile(r"\b([Bb]asic|BASIC)(\s+)(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/]{6,}={0,2}")

# These match text in lower case: a pattern that ignores case takes five times as long and stops all
# threads during that time. The last group that matched is the secret.
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
#: Keys whose values the log itself makes.
_TRUSTED: Final = 3

_sensitivities: dict[str, int] = dict.fromkeys(
    ("timestamp", "level", "logger", "request_id", "trace_id", "span_id"), _TRUSTED
)


def _classify(key: str) -> int:
    """Return the sensitivity of *key*, by the words it consists of."""
    words = [word.lower() for word in _SPLIT.findall(key)]
    joined = "".join(words)
    if not (
        any(word in _WORDS or word.removesuffix("s") in _WORDS for word in words)
        or any(compound in joined for compound in _COMPOUNDS)
    ):
        return _PUBLIC
    return _SECRET if _MEASURES.isdisjoint(words) else _SECRET_UNLESS_NUMBER


def _sensitivity_of(key: str) -> int:
    """Return the sensitivity of *key*, which is kept for the next line."""
    sensitivity = _sensitivities.get(key)
    if sensitivity is None:
        sensitivity = _classify(key)
        if len(_sensitivities) < 4096 and len(key) <= 256:  # a nested key may come from a client
            _sensitivities[key] = sensitivity
    return sensitivity


def is_secret(key: str, value: Any) -> bool:
    """Return whether *value* must not be written under *key*."""
    sensitivity = _sensitivity_of(key)
    if sensitivity == _SECRET_UNLESS_NUMBER:
        return not isinstance(value, (int, float))
    return sensitivity == _SECRET


def is_plain(line: dict[str, Any]) -> bool:
    """
    Return whether *line* can be written as it is.

    It can if it has no secret key, no text that may hold a secret, and plain values only. True is
    certain, False may be a false alarm. Every line is tested here, so the cheapest test comes
    first.
    """
    sensitivities = _sensitivities
    for key, value in line.items():
        sensitivity = sensitivities.get(key)
        if sensitivity == _TRUSTED:
            continue
        if sensitivity != _PUBLIC and (sensitivity is not None or _sensitivity_of(key) != _PUBLIC):
            return False
        kind = type(value)
        if kind is str:
            # Every secret in a text comes with one of these characters.
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
    """Return a match of `_URL` with its password replaced."""
    scheme, user, password = found.groups()
    if scheme.lower().startswith(("http", "ws")) and _PORT.match(password):
        return found.group()  # host:port/path?mail=a@b has no password
    return f"{scheme}{user}:{REDACTED}@"


def _replace_secrets(pattern: re.Pattern[str], text: str) -> str:
    """
    Replace in *text* what *pattern* finds in its lower-case form.

    The lower-case form has the same length, so the positions of a match are valid in both.
    """
    lowered = text.lower()
    if len(lowered) != len(text):  # some letters have a longer lower case
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
    """Return *text* with passwords in URLs, tokens, private keys and `password=…` replaced."""
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
