"""File servers on loopback for tests: HTTP with ranges and faults by plan, and S3 by moto."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = str | int | None  # "cut" or "cut N": break off after N bytes; "whole"; "flip"; or a status


@dataclass
class Server:
    """A running HTTP server and what it was asked."""

    url: str
    requests: list[str] = field(default_factory=list)  # paths
    sent: int = 0  # bytes of bodies
    delay: float = 0.0  # seconds before an answer
    fault: Callable[[int, str], Fault] = lambda number, path: None

    def count(self, suffix: str) -> int:
        """How often files of a suffix were asked for."""
        return sum(path.partition("?")[0].endswith(suffix) for path in self.requests)


@contextlib.contextmanager
def http_server(root: Path) -> Iterator[Server]:
    """Serve a folder on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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
            if isinstance(fault, int) or not file.is_file():
                self.send_response(fault if isinstance(fault, int) else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(file.read_bytes(), str(fault or ""))

        def _send(self, data: bytes, fault: str) -> None:
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if found and fault != "whole":
                begin, end = int(found[1]), min(int(found[2]) + 1, len(data))
                if begin >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
                data = data[begin:end]
            else:
                self.send_response(200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if fault == "flip":
                data = bytes(byte ^ 0xFF for byte in data)
            if fault.startswith("cut"):
                data = data[: int(fault[3:] or len(data) // 2)]
            if self.command == "GET":
                self.wfile.write(data)
                with lock:
                    server.sent += len(data)
            if fault.startswith("cut"):
                self.close_connection = True

    lock = threading.Lock()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server = Server(f"http://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
