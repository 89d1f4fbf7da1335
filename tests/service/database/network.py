"""
What only a network of one's own can show; run inside one by `test_network`.

`python -m tests.service.database.network dropped|resolver` prints what it measured as JSON.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, exc, text

from atom_platform.database.engine import Database, open_database
from atom_platform.health.check import CheckFailed
from atom_platform.settings import Settings
from tests.support.postgres import running_postgresql


def command(*words: str) -> None:
    subprocess.run(words, check=True)


def one(connection: Connection) -> Any:
    return connection.execute(text("SELECT 1")).scalar()


def outcome(work: Callable[[], object]) -> dict[str, Any]:
    """Return the result of *work*, and its seconds."""
    start = time.monotonic()
    try:
        said = str(work())
    except (CheckFailed, exc.SQLAlchemyError) as error:
        said = str(error) if isinstance(error, CheckFailed) else type(error).__name__
    return {"said": said, "seconds": time.monotonic() - start}


def cut_short(database: Database) -> None:
    """Ping as the prober does after a timeout: with a short deadline."""
    timer = threading.Timer(1.2, database.ping.cancel)
    timer.start()
    try:
        database.ping()
    finally:
        timer.cancel()


def recovery_seconds(database: Database) -> float:
    start = time.monotonic()
    while True:
        try:
            cut_short(database)
        except CheckFailed:
            continue
        return time.monotonic() - start


def dropped() -> dict[str, Any]:
    """Packets to the server are dropped."""
    with running_postgresql() as server:
        database = open_database(
            Settings(database_url=server.url(), database_check_timeout_seconds=2.0)
        )
        database.ping()
        database.run(one)
        rule = ("INPUT", "-p", "tcp", "--dport", str(server.port), "-j", "DROP")
        command("iptables", "-A", *rule)
        query: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: query.append(outcome(lambda: database.run(one))))
        thread.start()
        pings = [outcome(database.ping) for _ in range(2)]
        thread.join()
        command("iptables", "-D", *rule)
        found = {"pings": pings, "query": query[0], "recovery": recovery_seconds(database)}
        found["work"] = outcome(lambda: database.run(one))
        database.dispose()
        return found


def resolver() -> dict[str, Any]:
    """The name server receives every question and answers none; later it answers."""
    configuration = Path(tempfile.mkdtemp()) / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.1\n")
    command("mount", "--bind", str(configuration), "/etc/resolv.conf")
    speaks = threading.Event()
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))
    threading.Thread(target=serve_names, args=(names, speaks), daemon=True).start()
    with running_postgresql() as server:
        database = open_database(
            Settings(database_url=server.url().replace("127.0.0.1", "db.test"))
        )
        found: dict[str, Any] = {"ping": outcome(lambda: cut_short(database))}
        found["threads"] = sum(each.name == "database-resolver" for each in threading.enumerate())
        speaks.set()
        found["recovery"] = recovery_seconds(database)
        database.dispose()
        return found


def serve_names(names: socket.socket, speaks: threading.Event) -> None:
    """Answer that every name has the address 127.0.0.1."""
    while True:
        question, asker = names.recvfrom(512)
        if not speaks.is_set():
            continue
        end = question.index(b"\0", 12) + 5
        asks_for_ipv4 = question[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\x04\x7f\0\0\1" if asks_for_ipv4 else b""
        counts = struct.pack(">HHHH", 1, 1 if answer else 0, 0, 0)
        names.sendto(question[:2] + b"\x81\x80" + counts + question[12:end] + answer, asker)


if __name__ == "__main__":
    command("ip", "link", "set", "lo", "up")
    print(json.dumps({"dropped": dropped, "resolver": resolver}[sys.argv[1]]()))
