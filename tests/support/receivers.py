"""The other side of a delivery, on 127.0.0.1: an HTTP receiver and a small mail server, both keep what they were sent."""

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class HttpReceiver:
    """Answers with the statuses it was given, one after the other, and with the last one for ever."""

    url: str
    statuses: list[int] = field(default_factory=lambda: [200])
    body: bytes = b"ok"
    received: list[Received] = field(default_factory=list[Received])

    def next_status(self) -> int:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@contextmanager
def http_receiver(*statuses: int, body: bytes = b"ok") -> Iterator[HttpReceiver]:
    """A receiver on a free port."""
    holder: list[HttpReceiver] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            receiver = holder[0]
            got = Received(
                method=self.command,
                path=self.path,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
            receiver.received.append(got)
            status = receiver.next_status()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(receiver.body)))
            self.end_headers()
            self.wfile.write(receiver.body)

        do_GET = do_POST = _answer  # noqa: N815 - the names are the library's

        def log_message(self, format: str, *args: object) -> None:
            """Not on the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = HttpReceiver(url=f"http://127.0.0.1:{server.server_port}/hook", body=body)
    receiver.statuses = list(statuses) or [200]
    holder.append(receiver)
    with _running(server):
        yield receiver


@dataclass(slots=True, kw_only=True)
class MailServer:
    port: int
    mails: list[Message] = field(default_factory=list[Message])
    recipients: list[str] = field(default_factory=list[str])
    commands: list[str] = field(default_factory=list[str])
    refuses: bool = False


@contextmanager
def mail_server(*, refuses: bool = False) -> Iterator[MailServer]:
    """It offers AUTH PLAIN, and no STARTTLS. ``refuses``: no recipient is known."""
    holder: list[MailServer] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            mailbox = holder[0]
            self._say("220 mail.test")
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                mailbox.commands.append(line)
                verb = line.split(" ")[0].upper()
                if verb == "QUIT":
                    self._say("221 bye")
                    return
                if verb == "DATA":
                    self._data(mailbox)
                elif verb == "EHLO":
                    self._say("250-mail.test")
                    self._say("250 AUTH PLAIN")
                elif verb == "AUTH":
                    self._say("235 welcome")
                elif verb == "RCPT":
                    mailbox.recipients.append(line.partition("<")[2].rstrip(">"))
                    self._say("550 no such user" if mailbox.refuses else "250 ok")
                else:
                    self._say("250 ok")

        def _data(self, mailbox: MailServer) -> None:
            self._say("354 go on")
            lines = []
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                if line == ".":
                    break
                lines.append(line.removeprefix(".") if line.startswith("..") else line)
            mailbox.mails.append(message_from_string("\n".join(lines), policy=default))
            self._say("250 taken")

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    mailbox = MailServer(port=server.server_address[1], refuses=refuses)
    holder.append(mailbox)
    with _running(server):
        yield mailbox


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
