"""The logger class of gunicorn: the arbiter's and the workers' own lines, as lines of ours."""

from __future__ import annotations

import logging
import re
import ssl
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from gunicorn import version_info
from gunicorn.glogging import Logger
from gunicorn.http import errors

from atom_platform.extension.request_record import UNMATCHED, RequestRecord
from atom_platform.logs._compat_gunicorn import is_own_handler
from atom_platform.logs.config import capture_output, configure_structlog
from atom_platform.logs.records import LOG_OUTPUT, level_name, line_from_record
from atom_platform.settings import Settings

__all__ = ["REJECTED_REQUEST", "GunicornLogger", "RejectedRequest"]

_REFUSED: Final = re.compile(r"Invalid request from ip=([^:]*(?:::?[0-9a-f.:]*)?): (.*)", re.DOTALL)
#: The status of a request that gunicorn's parser rejects; of the others 400 (workers/base.py).
_STATUS: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.LimitRequestLine, 414 if version_info >= (27,) else 400),
    (errors.LimitRequestHeaders, 431),
    (getattr(errors, "ExpectationFailed", NotImplementedError), 417),  # not in gunicorn 23
    (errors.UnsupportedTransferCoding, 501),
    (errors.ConfigurationProblem, 500),
    (errors.ForbiddenProxyRequest, 403),
    (ssl.SSLError, 403),
)
#: `--log-level debug` prints the configuration; these settings hold values of the environment.
_SECRET_SETTINGS: Final = re.compile(r"(?m)^(  (?:raw_env|env)): .*$")


@dataclass(slots=True)
class RejectedRequest:
    """
    A request that gunicorn's parser may reject.

    Attributes:
        request_id: The id for its response and its access line.
        observed: Whether it was counted and has an access line.
    """

    request_id: str
    observed: bool = False


#: The request that this thread is rejecting, if its response can carry an id.
REJECTED_REQUEST: Final[ContextVar[RejectedRequest | None]] = ContextVar(
    "rejected_request", default=None
)


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """
    A `logger_class` that makes gunicorn log as the platform does.

    It configures the log from the environment: in the arbiter before its first line, and again on
    SIGHUP. gunicorn's access log is off, because the application has an access line of its own.

    Attributes:
        observe_request: Counts and logs a request that gunicorn rejects before the application sees
            it (`Platform.observe_request`). With None gunicorn's own warning is logged.
    """

    observe_request: Callable[[RequestRecord], None] | None = None

    def setup(self, cfg: Any) -> None:
        settings = Settings.from_environ(without=("DATABASE_URL",))  # may not be ours
        configure_structlog(
            level=settings.log_level, levels=settings.log_levels, format=settings.log_format
        )
        capture_output()
        super().setup(cfg)
        self._replace_handlers()
        # "info" is gunicorn's default, so it is taken as not set.
        default = max(logging.INFO, logging.getLogger().level)
        own = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.loglevel = default if own == logging.INFO else own
        if "gunicorn.error" not in settings.log_levels:
            self.error_log.setLevel(self.loglevel)
        self.error_log.propagate = cfg.errorlog in (None, "-")

    def _replace_handlers(self) -> None:
        """Take gunicorn's own handlers away; syslog's and those of `--log-config` stay."""
        for log in (self.error_log, self.access_log):
            for handler in list(log.handlers):
                if not is_own_handler(handler):
                    continue
                if log is self.error_log and isinstance(handler, logging.FileHandler):
                    handler.setFormatter(LineFormatter())
                elif type(handler) in (logging.StreamHandler, logging.FileHandler):
                    # The lines propagate to the handler of the root logger.
                    log.removeHandler(handler)
                    handler.close()

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write nothing: each request has had its access line by now."""

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(msg, str) and msg.startswith("Current configuration:"):
            msg = _SECRET_SETTINGS.sub(r"\1: [redacted]", msg)
        super().debug(msg, *args, **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        observe = self.observe_request
        if observe is not None and isinstance(msg, str) and (refused := _REFUSED.fullmatch(msg)):
            self._observe_rejected(observe, refused[1], refused[2])
            return
        super().warning(msg, *args, **kwargs)

    def _observe_rejected(
        self, observe: Callable[[RequestRecord], None], remote_addr: str, reason: str
    ) -> None:
        """Count and log a rejected request; called while the parser's exception is handled."""
        error = sys.exception()
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
        request, rejected = getattr(error, "req", None), REJECTED_REQUEST.get()
        try:
            observe(
                RequestRecord(
                    method=getattr(request, "method", None) or "OTHER",
                    path=getattr(request, "path", None) or "",
                    endpoint=UNMATCHED,
                    status=status,
                    seconds=0.0,
                    body_bytes=0,
                    remote_addr=remote_addr,
                    request_id=rejected.request_id if rejected else None,
                    reason=reason,
                )
            )
            if rejected:
                rejected.observed = True
        except Exception:
            super().exception("rejected_request_not_observed")


class LineFormatter(logging.Formatter):
    """Formats records as lines of ours, for `--error-logfile`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line, without its newline."""
        line = line_from_record(record, level_name(record.levelno, record.levelname))
        return LOG_OUTPUT.render(line).decode().rstrip("\n")
