"""A real HTTP server that records what it is sent, and answers what it was told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple


class Recorded(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Recorder:
    """`answers`: target -> (status, body); anything else gets the default."""

    def __init__(
        self,
        answers: dict[str, tuple[int, Any]] | None = None,
        default: tuple[int, Any] = (200, {}),
    ) -> None:
        self.calls: list[Recorded] = []
        self.answers = answers or {}
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(size)
                recorder.calls.append(Recorded(self.command, self.path, headers, body))
                status, content = recorder.answers.get(self.path, default)
                text = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, format: str, *args: Any) -> None:
                """Not into the output of the tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
