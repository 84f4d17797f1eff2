"""File servers on loopback for tests: HTTP with ranges and faults by plan, and raw answers."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

os.environ["NO_PROXY"] = "127.0.0.1"  # whatever proxy the environment names

Fault = str | int | None  # "cut" or "cut N": break off after N bytes; "whole"; "flip"; or a status


@dataclass
class Server:
    """A running HTTP server and what it was asked."""

    url: str
    requests: list[str] = field(default_factory=list)  # paths
    sent: int = 0  # bytes of bodies
    delay: float = 0.0  # seconds before an answer
    fault: Callable[[int, str], Fault] = lambda number, path: None
    bodies: dict[str, bytes] = field(default_factory=dict)  # answers that are no files, by path

    def count(self, suffix: str) -> int:
        """How often files of a suffix were asked for."""
        return sum(path.partition("?")[0].endswith(suffix) for path in self.requests)


@contextlib.contextmanager
def http_server(root: Path) -> Iterator[Server]:
    """Serve a folder on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            with lock:
                number = len(server.requests)
                server.requests.append(self.path)
            if server.delay:
                time.sleep(server.delay)
            fault = server.fault(number, self.path)
            file = root / self.path.partition("?")[0].lstrip("/")
            if (body := server.bodies.get(self.path.partition("?")[0])) is not None:
                self._send(io.BytesIO(body), "json")
                return
            if isinstance(fault, int) or not file.is_file():
                self.send_response(fault if isinstance(fault, int) else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            with file.open("rb") as opened:
                self._send(opened, str(fault or ""))

        def _send(self, file: BinaryIO, fault: str) -> None:
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            total = file.seek(0, os.SEEK_END)
            if found and fault != "whole":
                begin, end = int(found[1]), min(int(found[2]) + 1, total)
                if begin >= total:
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{total}")
            else:
                begin, end = 0, total
                self.send_response(200)
            file.seek(begin)
            data = file.read(end - begin)
            if fault == "json":
                self.send_header("Content-Type", "application/json")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if fault == "flip":
                data = bytes(byte ^ 0xFF for byte in data)
            if fault.startswith("cut"):
                data = data[: int(fault[3:] or len(data) // 2)]
            if self.command == "GET":
                try:
                    self.wfile.write(data)
                except ConnectionError:  # nobody listens any more
                    self.close_connection = True
                    return
                with lock:
                    server.sent += len(data)
            if fault.startswith("cut"):
                self.close_connection = True

    class Listener(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # of 5, a client with many threads waits a second to connect

        def handle_error(self, request: object, client_address: object) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # clients hang up when they please
                super().handle_error(request, client_address)  # type: ignore[arg-type]

    lock = threading.Lock()
    listener = Listener(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


@contextlib.contextmanager
def raw_server(answer: Callable[[socket.socket, int], object]) -> Iterator[str]:
    """Yield the URL of a server that answers by a function of connection and first byte."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            found = re.search(rb"bytes=(\d+)-", connection.recv(1 << 16))
            answer(connection, int(found[1]) if found else 0)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept
    thread.join()
