"""The server's half of a session: lines in, actions out.  Knows no socket, clock or thread.

The shell feeds one line at a time and carries out what comes back, in order.  After an action that asks for something
(`AskVerifier`, `AskPassword`, `Authorise`, `Execute`, `OpenReader`, `OpenWriter`, `FinishWriting`, `BeginTls`) it feeds
no further line before it has answered: `waits` says so.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from eson.errors import EsonError, Usage
from eson.fnap.core import commands as c
from eson.fnap.core import render
from eson.fnap.core.actions import (
    Actions,
    Authorise,
    BeginTls,
    Close,
    Execute,
    FinishWriting,
    LoginFailed,
    OpenReader,
    OpenWriter,
    StopReading,
    WriteEvent,
)
from eson.fnap.core.answers import capabilities, ehlo, help_reply, usable_mechanisms, whoami
from eson.fnap.core.exchange import Exchange
from eson.fnap.core.grammar import UnknownCommand, parse_command, verb_of
from eson.fnap.core.lines import LineFault
from eson.fnap.core.policy import Policy
from eson.fnap.core.replies import Description, Outcome
from eson.fnap.core.states import SERVER, IllegalMove, Verdict, verdict
from eson.fnap.core.states import ServerInput as I
from eson.fnap.core.states import ServerState as S
from eson.fnap.core.usage import USAGE
from eson.fnap.core.write_body import WriteBody
from eson.identity.mechanisms import (
    AskPassword,
    AskVerifier,
    Challenge,
    Failed,
    ServerStep,
)
from eson.identity.verifier import Verifier
from eson.model.principals import Caller

_WAITING = frozenset({S.HANDSHAKE, S.VERIFYING, S.CMD_RECVD, S.READING, S.CLOSED})
_OK = (render.END,)
_RUN_AT_ONCE: Mapping[bytes, Actions] = {b"NOOP": _OK, b"noop": _OK}


class ServerSession:
    """One session.  `clear_is_safe`: passwords may be shown without TLS (a loopback peer)."""

    __slots__ = (
        *("_as_json", "_bad", "_body", "_failed", "_mechanism", "_policy"),
        *("caller", "clear_is_safe", "held", "state", "tls"),
    )

    def __init__(self, policy: Policy, tls: bool = False, clear_is_safe: bool = False) -> None:
        self._policy = policy
        self.tls = tls
        self.clear_is_safe = clear_is_safe
        self.state = S.WAITING
        self.held = False
        """Set by the shell while a WRITE's sink takes no more."""
        self._begin()

    def _begin(self) -> None:
        self.caller: Caller | None = None
        self._as_json = False
        self._bad = self._failed = 0
        self._mechanism: Exchange | None = None
        self._body: WriteBody | None = None

    def _move(self, what: I) -> None:
        try:
            self.state = SERVER[self.state, what]
        except KeyError:
            raise IllegalMove(f"{what} in {self.state}") from None

    @property
    def waits(self) -> bool:
        """Whether no line may be fed now."""
        return self.held or self.state in _WAITING

    @property
    def limit(self) -> int:
        """How long a line may be now, in octets without CRLF."""
        if self.state is S.SASL:
            return self._policy.sasl_line
        return self._policy.event if self.state in (S.WRITING, S.DROPPING) else self._policy.line

    # what the connection does

    def connected(self) -> Actions:
        """The greeting."""
        self._move(I.CONNECTED)
        return (f"220 {self._policy.hostname} FNAA\r\n".encode(),)

    def tls_started(self, nothing_buffered: bool) -> Actions:
        """The handshake is done; all session state is new.  What came in clear behind STARTTLS ends the session."""
        if not nothing_buffered:
            return self.close("octets behind STARTTLS")
        self._move(I.TLS_UP)
        self._begin()
        self.tls = True
        return ()

    def close(self, outcome: str, text: str = "") -> Actions:
        """Ends the session from this side, with a `421` if there is a `text`."""
        if self.state is S.CLOSED:
            return ()
        self._move(I.CLOSE)
        return (render.line(f"421 {text}"), Close(outcome)) if text else (Close(outcome),)

    # lines

    def line(self, line: bytes) -> Actions:
        """The client's next line, without CRLF."""
        if self.state is S.READY or self.state is S.ACCEPTING:
            at_once = _RUN_AT_ONCE.get(line)
            return at_once if at_once is not None else self._command(line)
        if self.state is S.SASL:
            return self._sasl_line(line)
        if self.state is S.WRITING or self.state is S.DROPPING:
            return self._event_line(line)
        if self.state is S.FOLLOWING:
            self._move(I.NEXT_LINE)
            return (StopReading(),)
        if self.state is S.CLOSED:
            return ()
        raise IllegalMove(f"a line in {self.state}")

    def fault(self, fault: LineFault) -> Actions:
        """A line that cannot be read."""
        if self.state in (S.WRITING, S.DROPPING):
            return self._event_line(fault)
        if self.state is S.FOLLOWING:
            return self.line(b"")
        if self.state is S.CLOSED:
            return ()
        reply = render.line(fault.value)
        if self.state is S.SASL:
            return self._login_failed("unreadable response", reply)
        return self._count_bad(reply)

    def _command(self, line: bytes) -> Actions:
        try:
            text = line.decode("utf-8")
            if not text.isprintable() and any(c < " " or c == "\x7f" for c in text):
                raise UnicodeError
        except UnicodeError:
            return self._count_bad(
                render.line("501 Usage: printable UTF-8, one command a line (HELP lists them)")
            )
        try:
            command = parse_command(text)
        except EsonError as error:
            return self._wrong(text, error)
        verb = verb_of(text)
        said = verdict(self.state, verb)
        if said is Verdict.LOGIN_FIRST:
            return self._count_bad(b"530 Authenticate first\r\n")
        if said is Verdict.NOT_NOW:
            return self._count_bad(render.line(f"503 {verb} comes before the login: open a new connection"))
        return self._run(command)

    def _wrong(self, text: str, error: EsonError) -> Actions:
        """Before login every verb that needs one gets `530`, however wrong its words are."""
        verb = verb_of(text)
        if verb in USAGE and verdict(self.state, verb) is Verdict.LOGIN_FIRST:
            return self._count_bad(b"530 Authenticate first\r\n")
        if isinstance(error, Usage | UnknownCommand):
            return self._count_bad(render.error_line(error))
        return (render.error_line(error),)

    def _run(self, command: c.Command) -> Actions:
        if isinstance(command, c.Noop):
            return _OK
        if isinstance(command, c.Ehlo):
            return (ehlo(self._policy, self._capabilities()),)
        if isinstance(command, c.Capabilities):
            return (render.body(self._capabilities()),)
        if isinstance(command, c.Format):
            self._as_json = command.json
            return _OK
        if isinstance(command, c.WhoAmI):
            return self._who()
        if isinstance(command, c.Help):
            return (help_reply(command.word),)
        if isinstance(command, c.Quit):
            self._move(I.CLOSE)
            return (b"220 Bye\r\n", Close("quit"))
        if isinstance(command, c.StartTls):
            return self._starttls()
        if isinstance(command, c.Authenticate):
            return self._authenticate(command)
        self._move(I.COMMAND)
        if isinstance(command, c.Read):
            return (OpenReader(command),)
        if isinstance(command, c.Write):
            return (OpenWriter(command),)
        return (Execute(command),)

    def _count_bad(self, reply: bytes) -> Actions:
        self._bad += 1
        limit = self._policy.bad_after_login if self.caller else self._policy.bad_before_login
        if self._bad >= limit:
            return self.close("bad commands", "Too many bad commands")
        return (reply,)

    # what the session answers itself

    def _who(self) -> Actions:
        caller = self.caller
        who = Description(whoami(caller, self.tls) if caller else {})
        return (render.outcome_bytes(who, self._as_json),)

    def _usable(self) -> list[str]:
        return usable_mechanisms(self._policy, self.tls or self.clear_is_safe)

    def _capabilities(self) -> list[str]:
        if self.caller is not None:
            return capabilities(self._policy, False, ())
        return capabilities(self._policy, not self.tls, self._usable())

    def _starttls(self) -> Actions:
        if self.tls:
            return self._count_bad(b"503 TLS is active already\r\n")
        if not self._policy.starttls:
            return (b"454 TLS is not available here\r\n",)
        self._move(I.STARTTLS)
        return (b"220 Ready to start TLS\r\n", BeginTls())

    # login

    def _authenticate(self, command: c.Authenticate) -> Actions:
        name = command.mechanism
        mechanism = self._policy.mechanism(name) if name in self._policy.mechanisms else None
        if mechanism is None:
            why = "is not offered here" if name in self._policy.known_mechanisms else "is not supported"
            return (render.line(f"504 Mechanism {name} {why}: EHLO lists those that are"),)
        if name not in self._usable():
            return (b"538 Encryption required\r\n",)
        self._mechanism = Exchange(mechanism)
        self._move(I.AUTHENTICATE)
        if command.initial is None:
            self._move(I.RESPONSE)
            return self._sasl_step(self._mechanism.respond(None))
        return self._sasl_line(b"" if command.initial == "=" else command.initial.encode())

    def _sasl_line(self, line: bytes) -> Actions:
        if line == b"*":
            self._move(I.AUTH_ERROR)
            self._mechanism = None
            return (b"501 Authentication cancelled\r\n",)
        mechanism = self._mechanism
        if mechanism is None:
            raise IllegalMove("a response without a mechanism")
        try:
            response = base64.b64decode(line, validate=True)
        except (ValueError, binascii.Error):
            return self._login_failed("the response is not base64")
        self._move(I.RESPONSE)
        return self._sasl_step(mechanism.respond(response))

    def _mechanism_name(self) -> str:
        return self._mechanism.name if self._mechanism else ""

    def _sasl_step(self, step: ServerStep) -> Actions:
        if isinstance(step, Challenge):
            self._move(I.CHALLENGE)
            if not step.data and self._mechanism_name() == "PLAIN":
                return (b"220 OK\r\n",)
            return (b"334 " + base64.b64encode(step.data) + b"\r\n",)
        if isinstance(step, AskVerifier | AskPassword):
            return (step,)
        if isinstance(step, Failed):
            return self._login_failed(step.reason, username=step.username)
        return (Authorise(step.username, step.authorisation, self._mechanism_name()),)

    def verifier_found(self, found: Verifier | None) -> Actions:
        """Answers `AskVerifier`."""
        mechanism = self._mechanism
        return (
            () if mechanism is None or self.state is S.CLOSED else self._sasl_step(mechanism.verifier(found))
        )

    def password_checked(self, right: bool) -> Actions:
        """Answers `AskPassword`."""
        mechanism = self._mechanism
        return (
            () if mechanism is None or self.state is S.CLOSED else self._sasl_step(mechanism.checked(right))
        )

    def authorised(self, caller: Caller | None) -> Actions:
        """Answers `Authorise`; None: it may not."""
        if self.state is S.CLOSED:
            return ()
        if caller is None:
            return self._login_failed("may not act as that")
        self._move(I.AUTH_OK)
        self.caller = caller
        self._mechanism = None
        self._bad = 0
        return (b"220 Authenticated\r\n",)

    def login_unavailable(self, text: str) -> Actions:
        """Authentication cannot be offered now (a full queue, the store is down)."""
        if self.state is S.CLOSED:
            return ()
        self._move(I.AUTH_ERROR)
        self._mechanism = None
        return (render.line(f"454 {text}"),)

    def _login_failed(self, reason: str, reply: bytes | None = None, username: str = "") -> Actions:
        if self.state is S.CLOSED:
            return ()
        failed = LoginFailed(username, self._mechanism_name(), reason)
        self._mechanism = None
        self._move(I.AUTH_ERROR)
        self._failed += 1
        if self._failed >= self._policy.failed_logins:
            return (failed, *self.close("failed logins", "Authentication failed too often"))
        return (failed, reply or b"535 Authentication failed\r\n")

    # what was executed

    def answered(self, result: Outcome | BaseException) -> Actions:
        """The end of a command."""
        if self.state is S.CLOSED:
            return ()
        self._move(I.ANSWERED)
        if isinstance(result, BaseException):
            return (render.error_line(result),)
        return (render.outcome_bytes(result, self._as_json),)

    def reading(self, follow: bool) -> Actions:
        """The reader is open: its lines may be written as they come."""
        if self.state is S.CLOSED:
            return ()
        self._move(I.BODY_FOLLOW if follow else I.BODY)
        return (render.DATA,)

    def read_ended(self, error: BaseException | None = None) -> Actions:
        """The reader has no more."""
        if self.state is S.CLOSED:
            return ()
        self._move(I.ANSWERED)
        return (render.END if error is None else render.error_line(error),)

    def writing(self) -> Actions:
        """The writer is open."""
        if self.state is S.CLOSED:
            return ()
        self._move(I.SEND_EVENTS)
        self._body = WriteBody()
        return (b"354 Send events, end with .\r\n",)

    def _event_line(self, line: bytes | LineFault) -> Actions:
        if line == b".":
            self._move(I.LONE_DOT)
            return (FinishWriting(),)
        if self.state is S.DROPPING or self._body is None:
            return ()
        try:
            return (WriteEvent(self._body.event(line)),)
        except Usage as error:
            return self.event_refused(error)

    def event_refused(self, why: EsonError) -> Actions:
        """The event just given is none, or the broker is lost: the rest is read and dropped to the lone dot."""
        if self.state is S.WRITING and self._body is not None:
            self._body.refuse(why)
            self._move(I.BAD_EVENT)
        return ()

    def written(self, count: int) -> Actions:
        """All accepted events are synced."""
        body, self._body = self._body, None
        if self.state is S.CLOSED:
            return ()
        if body is None:
            raise IllegalMove("the end of no WRITE")
        self._move(I.ANSWERED)
        return (body.reply(count),)
