"""The client's half of a session: lines in, events out.  Knows no socket, clock or thread.

Every request returns the octets to send and moves the state; the server's lines come back as events.  Whatever the
server says out of turn, in an odd form or without end gives `Broken`: nothing that it says is believed any more.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Literal

from eson.errors import TooLarge, Usage
from eson.fnap.core import commands as c
from eson.fnap.core.client_events import (
    Answered,
    BeginTls,
    BodyBegan,
    BodyLine,
    Broken,
    Challenged,
    ClientLimits,
    Events,
    GoAhead,
    Greeted,
    Hello,
    LoggedIn,
    Reply,
    ServerCloses,
)
from eson.fnap.core.command_text import command_line
from eson.fnap.core.grammar import verb_of
from eson.fnap.core.lines import LineFault
from eson.fnap.core.masking import masked
from eson.fnap.core.states import CLIENT, IllegalMove
from eson.fnap.core.states import ClientInput as I
from eson.fnap.core.states import ClientState as S
from eson.identity.mechanisms import ClientMechanism

_GREETING = re.compile(r"220 ([A-Za-z0-9.-]{1,253}) FNAA ?\Z")
_REPLY = re.compile(r"([0-9]{3})(?: (.*))?\Z", re.DOTALL)
_BODY_END = re.compile(rb"[0-9]{3} ")
_EHLO_WORD = re.compile(r"[A-Za-z0-9_ .-]+\Z")
_MAX_WORDS = 100
_SESSION_VERBS = frozenset({"EHLO", "STARTTLS", "AUTHENTICATE", "QUIT", "WRITE"})
SECRET = "***"

Dialogue = Callable[[Literal["C", "S"], str], None]
"""Gets each line as it is sent (`C`) or received (`S`), credentials as `***`."""


class ClientSession:
    """One session.  `tls`: TLS is up before the greeting."""

    def __init__(
        self, limits: ClientLimits | None = None, tls: bool = False, dialogue: Dialogue | None = None
    ) -> None:
        self._limits = limits or ClientLimits()
        self._dialogue = dialogue
        self.state = S.IDLE
        self.tls = tls
        self.hostname = ""
        self._begin()

    def _begin(self) -> None:
        """All that is learned from the server; forgotten when TLS comes up."""
        self.words: tuple[str, ...] | None = ()
        self.authenticated = False
        self._hello: list[str] = []
        self._body: list[str] = []
        self._body_size = self._body_count = 0
        self._mechanism: ClientMechanism | None = None
        self._responded = False
        self._streams = self._writes = self._follows = self._stopping = False
        self._most_lines: int | None = None

    def _move(self, what: I) -> None:
        try:
            self.state = CLIENT[self.state, what]
        except KeyError:
            raise IllegalMove(f"{what} in {self.state}") from None

    # what the server said of itself

    @property
    def knows_ehlo(self) -> bool:
        return self.words is not None

    def word(self, name: str) -> str | None:
        """What stands behind an EHLO word (`AUTH`, `SIZE`, …), "" if nothing; None if the server did not say it."""
        for word in self.words or ():
            first, _, rest = word.partition(" ")
            if first.upper() == name:
                return rest.strip()
        return None

    @property
    def limit(self) -> int:
        """How long the next line may be, in octets without CRLF."""
        return self._limits.event if self._streams and self.state is S.IN_BODY else self._limits.line

    @property
    def loose(self) -> bool:
        """Whether a bare LF ends the next line too."""
        return self.words is None and self.state is S.IN_BODY

    # requests: octets to send

    def connected(self) -> None:
        """The connection is open (with implicit TLS: the handshake is done)."""
        self._move(I.CONNECT)

    def ehlo(self, name: str) -> bytes:
        self._hello = []
        self._move(I.EHLO)
        return self._say(command_line(c.Ehlo(name)))

    def starttls(self) -> bytes:
        self._move(I.STARTTLS)
        return self._say("STARTTLS")

    def tls_started(self, nothing_buffered: bool) -> Events:
        """The handshake is done; everything learned before it is forgotten."""
        if not nothing_buffered:
            return self._broken("sent octets behind the answer to STARTTLS")
        self._move(I.TLS_UP)
        self._begin()
        self.tls = True
        return ()

    def authenticate(self, mechanism: ClientMechanism) -> bytes:
        """Begins a login.  The initial response waits for a challenge if the server knows no EHLO."""
        self._mechanism, self._responded = mechanism, False
        initial = mechanism.initial() if self.knows_ehlo else None
        self._move(I.AUTHENTICATE)
        line = f"AUTHENTICATE {mechanism.name}"
        if initial is None:
            return self._say(line)
        self._responded = True
        text = base64.b64encode(initial).decode() or "="
        self._tell("C", f"{line} {SECRET}")
        return f"{line} {text}\r\n".encode()

    def respond(self, response: bytes) -> bytes:
        """Answers `Challenged`."""
        self._move(I.RESPONSE)
        self._responded = True
        self._tell("C", SECRET if response else "")
        return base64.b64encode(response) + b"\r\n"

    def command(self, command: c.Command | str, stream: bool = False) -> bytes:
        """Sends a command.  `stream`: the lines of its body come one by one as `BodyLine`.

        Raises `Usage` for what is no line, or belongs to a method of its own.
        """
        line = command if isinstance(command, str) else command_line(command)
        verb = verb_of(line)
        if not line.isprintable() and any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in line):
            raise Usage("Usage: one command a line, without control characters")
        if verb in _SESSION_VERBS and not isinstance(command, c.Write):
            raise Usage(f"Usage: {verb} is not sent as a mere line")
        if verb == "READ" and not stream and line.upper().split()[-1] == "FOLLOW":
            raise Usage("Usage: READ … FOLLOW has no end of its own: its lines are read one by one")
        if len(line.encode()) > self._line_limit():
            raise TooLarge("The command is longer than the server takes")
        self._move(I.COMMAND)
        self._body, self._body_size, self._body_count = [], 0, 0
        self._streams, self._writes, self._stopping = stream, isinstance(command, c.Write), False
        self._follows = isinstance(command, c.Read) and command.follow
        self._most_lines = command.limit if isinstance(command, c.Read) else None
        return self._say(line)

    def _line_limit(self) -> int:
        said = self.word("LINE") or ""
        return int(said) if said.isdigit() and len(said) < 8 else 8192

    @property
    def event_limit(self) -> int:
        """The longest event that the server takes, in octets."""
        said = self.word("SIZE") or ""
        return int(said) if said.isdigit() and len(said) < 12 else 1 << 20

    def event(self, line: bytes) -> bytes:
        """One event of a WRITE, a JSON object on one line.  Raises `Usage` or `TooLarge`."""
        if self.state is not S.SENDING:
            raise IllegalMove(f"an event in {self.state}")
        if not line.startswith(b"{") or b"\n" in line or b"\r" in line:
            raise Usage("An event is one JSON object on one line")
        if len(line) > self.event_limit:
            raise TooLarge(f"An event of {len(line)} octets: the server takes {self.event_limit}")
        if self._dialogue is not None:
            self._tell("C", line.decode("utf-8", "replace"))
        return line + b"\r\n"

    def finish(self) -> bytes:
        """Ends a WRITE."""
        self._move(I.LONE_DOT)
        self._writes = False
        return self._say(".")

    def stop_follow(self) -> bytes:
        """Ends a READ … FOLLOW; b"" if there is none."""
        if self.state not in (S.CMD_PEND, S.IN_BODY) or not self._follows or self._stopping:
            return b""
        self._stopping = True
        return self._say("NOOP")

    def quit(self) -> bytes:
        self._move(I.QUIT)
        return self._say("QUIT")

    def close(self) -> None:
        """The connection is gone, or will be."""
        self._move(I.CLOSE)

    def _say(self, line: str) -> bytes:
        self._tell("C", masked(line))
        return line.encode() + b"\r\n"

    def _tell(self, direction: Literal["C", "S"], text: str) -> None:
        if self._dialogue is not None:
            self._dialogue(direction, text)

    # lines

    def line(self, line: bytes | LineFault) -> Events:
        """The server's next line, without its end."""
        state = self.state
        if state is S.CLOSED:
            return ()
        if isinstance(line, LineFault):
            too_long = line is LineFault.TOO_LONG
            return self._broken("sent too long a line" if too_long else "sent a line that ends without CR LF")
        if state is S.IN_BODY and not _BODY_END.match(line):
            return self._body_line(line)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return self._broken("sent a reply that is not UTF-8")
        secret = state is S.SASL and text.startswith("334 ") and len(text) > 4
        self._tell("S", f"334 {SECRET}" if secret else masked(text))
        if state is S.CON_PEND:
            return self._greeting(text)
        if state is S.EHLO_PEND and text.startswith("250"):
            return self._hello_line(text)
        found = _REPLY.match(text)
        if found is None:
            return self._broken("sent a line that is no reply")
        reply = Reply(int(found[1]), found[2] or "")
        if reply.code == 421:
            self._move(I.CLOSE)
            return (ServerCloses(reply),)
        rule = _RULES.get(state)
        return rule(self, reply) if rule else self._broken("spoke out of turn")

    def _broken(self, reason: str) -> Events:
        self._move(I.CLOSE)
        return (Broken(f"The server {reason}"),)

    def _odd(self) -> Events:
        return self._broken("sent a reply that fits nothing that was asked")

    def _greeting(self, text: str) -> Events:
        found = _GREETING.match(text)
        if found:
            self._move(I.GREETED)
            self.hostname = found[1].lower()
            return (Greeted(self.hostname),)
        reply = _REPLY.match(text)
        if reply and reply[1][0] in "45":
            self._move(I.CLOSE)
            return (ServerCloses(Reply(int(reply[1]), reply[2] or "")),)
        return self._broken("did not greet as an FNAA does")

    def _hello_line(self, text: str) -> Events:
        last = text[3:4] == " "
        word = text[4:]
        self._hello.append(word)
        if (not last and text[3:4] != "-") or not _EHLO_WORD.match(word) or len(self._hello) > _MAX_WORDS:
            return self._broken("sent an odd answer to EHLO")
        if not last:
            return ()
        self._move(I.EHLO_ANSWERED)
        # a server with a single line says its name alone
        self.words = tuple(self._hello[1:])
        return (Hello(self.words),)

    def _no_hello(self, reply: Reply) -> Events:
        if self._hello or not 400 <= reply.code <= 599:
            return self._broken("sent an odd answer to EHLO")
        self._move(I.EHLO_ANSWERED)
        self.words = None
        return (Hello(None),)

    def _tls_answer(self, reply: Reply) -> Events:
        if reply.code == 220:
            self._move(I.TLS_READY)
            return (BeginTls(),)
        return self._broken(f"refuses STARTTLS ({reply.code})")

    def _sasl_answer(self, reply: Reply) -> Events:
        mechanism = self._mechanism
        if mechanism is None:
            raise IllegalMove("an answer without a mechanism")
        if reply.code == 334:
            return self._challenge(reply.text)
        if (
            reply.code == 220
            and reply.text.rstrip() == "OK"
            and mechanism.name == "PLAIN"
            and not self._responded
        ):
            return self._challenge("")
        if reply.code == 220 and reply.text.rstrip() == "Authenticated":
            if not self._responded or not mechanism.finished():
                return self._broken("claims that the login is done, but proved nothing")
            self._move(I.AUTH_OK)
            self._mechanism = None
            self.authenticated = True
            return (LoggedIn(),)
        if not 400 <= reply.code <= 599:
            return self._odd()
        self._move(I.AUTH_FAILED)
        self._mechanism = None
        return (Answered(reply),)

    def _challenge(self, text: str) -> Events:
        try:
            challenge = base64.b64decode(text.strip(), validate=True)
        except (ValueError, binascii.Error):
            return self._broken("sent a challenge that is not base64")
        self._move(I.CHALLENGE)
        return (Challenged(challenge),)

    def _answer(self, reply: Reply) -> Events:
        stripped = reply.text.rstrip(" ") if not self.knows_ehlo else reply.text
        if reply.code == 220 and stripped == "DATA":
            self._move(I.DATA)
            return (BodyBegan(),) if self._streams else ()
        if reply.code == 354 and self._writes:
            self._move(I.GO_AHEAD)
            return (GoAhead(),)
        if reply.code in (202, 220) or 400 <= reply.code <= 599:
            if reply.text != reply.text.rstrip(" ") and self.knows_ehlo:
                return self._odd()
            self._move(I.ANSWERED)
            return self._ended(Answered(Reply(reply.code, stripped)), whole=False)
        return self._odd()

    def _body_line(self, line: bytes) -> Events:
        self._body_count += 1
        if self._streams:
            if self._dialogue is not None:
                self._tell("S", masked(line.decode("utf-8", "replace")))
            if self._most_lines is not None and self._body_count > self._most_lines:
                return self._broken("sends more lines than were asked for")
            return (BodyLine(line),)
        self._body_size += len(line)
        if self._body_count > self._limits.body_lines or self._body_size > self._limits.body:
            return self._broken("sends a reply without end")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return self._broken("sent a body that is not UTF-8")
        self._tell("S", masked(text))
        self._body.append(text)
        return ()

    def _body_end(self, reply: Reply) -> Events:
        complete = reply.code == 220 and (reply.text == "OK" or (not self.knows_ehlo and reply.text == "OK "))
        if not complete and not 400 <= reply.code <= 599:
            return self._odd()
        lines, self._body = tuple(self._body), []
        self._move(I.BODY_ENDED)
        answered = Answered(Reply(reply.code, reply.text.rstrip(" "), lines), had_body=True)
        return self._ended(answered, complete)

    def _ended(self, answered: Answered, whole: bool) -> Events:
        if self._stopping and not whole:
            # the line that should stop it may be read as a command now: later answers cannot be told apart
            return (answered, *self._broken("ended a READ with an error while it was asked to stop"))
        return (answered,)

    def _left(self, reply: Reply) -> Events:
        self._move(I.CLOSE)
        return (Answered(reply),)


_RULES: dict[S, Callable[[ClientSession, Reply], Events]] = {
    S.EHLO_PEND: ClientSession._no_hello,
    S.TLS_PEND: ClientSession._tls_answer,
    S.SASL: ClientSession._sasl_answer,
    S.CMD_PEND: ClientSession._answer,
    S.IN_BODY: ClientSession._body_end,
    S.LEAVING: ClientSession._left,
}
