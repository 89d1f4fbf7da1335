"""gunicorn's own words, the arbiter's and the workers', as lines like all others."""

from __future__ import annotations

import logging
import re
import ssl
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from gunicorn.glogging import Logger
from gunicorn.http import errors

from atom_platform.extension.request_record import UNMATCHED, RequestRecord
from atom_platform.logs.config import capture_output, configure_structlog
from atom_platform.logs.output import OUTPUT
from atom_platform.logs.records import level_name, line_of
from atom_platform.settings import Settings

__all__ = ["REFUSED", "GunicornLogger", "Refused"]

_REFUSED: Final = re.compile(r"Invalid request from ip=([^:]*(?:::?[0-9a-f.:]*)?): (.*)", re.DOTALL)
#: What gunicorn answers to a request that its parser refuses; 400 to the rest (workers/base.py).
_STATUS: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.LimitRequestLine, 414),
    (errors.LimitRequestHeaders, 431),
    (errors.ExpectationFailed, 417),
    (errors.UnsupportedTransferCoding, 501),
    (errors.ConfigurationProblem, 500),
    (errors.ForbiddenProxyRequest, 403),
    (ssl.SSLError, 403),
)
#: `--log-level debug` prints the configuration, and these settings hold the values of variables.
_SECRET_SETTINGS: Final = re.compile(r"(?m)^(  (?:raw_env|env)): .*$")


@dataclass(slots=True)
class Refused:
    """
    A request that gunicorn may be about to refuse.

    Attributes:
        request_id: For the answer and the access line.
        observed: Whether there is such a line.
    """

    request_id: str
    observed: bool = False


#: The one that this thread is about to refuse, when its answer can carry an id.
REFUSED: Final[ContextVar[Refused | None]] = ContextVar("refused", default=None)


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """
    A `logger_class` that joins gunicorn to the pipeline of the platform.

    It configures that pipeline from the environment, in the arbiter before anything is said and
    again on SIGHUP. gunicorn's access log is left out: the application's own line replaces it.

    Attributes:
        observe_request: Counts and logs a request that gunicorn refuses before the application sees
            it (`Platform.observe_request`); None logs gunicorn's own warning instead.
        hung_up: Told of the environment of a request that ended in an error.
    """

    observe_request: Callable[[RequestRecord], None] | None = None
    hung_up: Callable[[dict[str, Any]], None] | None = None

    def setup(self, cfg: Any) -> None:
        settings = Settings.from_environ(without=("DATABASE_URL",))  # it may be somebody else's
        configure_structlog(
            level=settings.log_level, levels=settings.log_levels, format=settings.log_format
        )
        capture_output()
        super().setup(cfg)
        # "info" is gunicorn's default, so it does not mean that somebody asked for it.
        default = max(logging.INFO, logging.getLogger().level)
        own = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.loglevel = default if own == logging.INFO else own
        if "gunicorn.error" not in settings.log_levels:
            self.error_log.setLevel(self.loglevel)
        self.error_log.propagate = cfg.errorlog in (None, "-")

    def _set_handler(self, log: Any, output: Any, fmt: Any, stream: Any = None) -> None:
        if log is self.access_log:
            return
        # "-" needs no handler: what is logged propagates to the platform's own.
        super()._set_handler(log, None if output == "-" else output, LineFormatter())

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Each request has had its line by now; but what comes here with an error was cut off."""
        if sys.exception() is not None and self.hung_up is not None:
            self.hung_up(environ)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(msg, str) and msg.startswith("Current configuration:"):
            msg = _SECRET_SETTINGS.sub(r"\1: [redacted]", msg)
        super().debug(msg, *args, **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        observe = self.observe_request
        if observe is not None and isinstance(msg, str) and (refused := _REFUSED.fullmatch(msg)):
            self._observe_refused(observe, refused[1], refused[2])
            return
        super().warning(msg, *args, **kwargs)

    def _observe_refused(
        self, observe: Callable[[RequestRecord], None], remote_addr: str, reason: str
    ) -> None:
        """Account for what the parser refused; gunicorn is handling its exception right now."""
        error = sys.exception()
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
        request, refused = getattr(error, "req", None), REFUSED.get()
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
                    request_id=refused.request_id if refused else None,
                    reason=reason,
                )
            )
            if refused:
                refused.observed = True
        except Exception:
            super().exception("refused_request_not_observed")


class LineFormatter(logging.Formatter):
    """Records as lines, for `--error-logfile`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line, without its newline."""
        line = line_of(record, level_name(record.levelno, record.levelname))
        return OUTPUT.render(line).decode().rstrip("\n")
