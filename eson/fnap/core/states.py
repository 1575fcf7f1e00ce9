"""Both state machines of FNAP as data (draft Figure 13, with the SASL, TLS, READ and WRITE states it leaves out).

`python -m eson.fnap.core.states` prints them as the diagrams of docs/fnap.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class ServerState(enum.Enum):
    WAITING = "waiting"
    ACCEPTING = "accepting"
    HANDSHAKE = "handshake"
    SASL = "sasl"
    VERIFYING = "verifying"
    READY = "ready"
    CMD_RECVD = "cmdRecvd"
    READING = "reading"
    FOLLOWING = "following"
    WRITING = "writing"
    DROPPING = "dropping"
    CLOSED = "closed"


class ServerInput(enum.Enum):
    CONNECTED = "sCon/sConOk"
    STARTTLS = "STARTTLS"
    TLS_UP = "TLS is up"
    AUTHENTICATE = "sHello"
    RESPONSE = "response"
    CHALLENGE = "challenge"
    AUTH_OK = "sAuthOk"
    AUTH_ERROR = "sAuthError"
    COMMAND = "sCmd/sCmdVerify"
    ANSWERED = "sCmdOk or sCmdError"
    BODY = "220 DATA"
    BODY_FOLLOW = "220 DATA, FOLLOW"
    NEXT_LINE = "client's next line"
    SEND_EVENTS = "354"
    BAD_EVENT = "bad event"
    LONE_DOT = "lone dot"
    CLOSE = "sDone"


_S, _I = ServerState, ServerInput
SERVER: Mapping[tuple[ServerState, ServerInput], ServerState] = MappingProxyType(
    {
        (_S.WAITING, _I.CONNECTED): _S.ACCEPTING,
        (_S.ACCEPTING, _I.STARTTLS): _S.HANDSHAKE,
        (_S.HANDSHAKE, _I.TLS_UP): _S.ACCEPTING,
        (_S.ACCEPTING, _I.AUTHENTICATE): _S.SASL,
        (_S.SASL, _I.RESPONSE): _S.VERIFYING,
        (_S.SASL, _I.AUTH_ERROR): _S.ACCEPTING,
        (_S.VERIFYING, _I.CHALLENGE): _S.SASL,
        (_S.VERIFYING, _I.AUTH_ERROR): _S.ACCEPTING,
        (_S.VERIFYING, _I.AUTH_OK): _S.READY,
        (_S.READY, _I.COMMAND): _S.CMD_RECVD,
        (_S.CMD_RECVD, _I.ANSWERED): _S.READY,
        (_S.CMD_RECVD, _I.BODY): _S.READING,
        (_S.CMD_RECVD, _I.BODY_FOLLOW): _S.FOLLOWING,
        (_S.FOLLOWING, _I.NEXT_LINE): _S.READING,
        (_S.FOLLOWING, _I.ANSWERED): _S.READY,
        (_S.READING, _I.ANSWERED): _S.READY,
        (_S.CMD_RECVD, _I.SEND_EVENTS): _S.WRITING,
        (_S.WRITING, _I.BAD_EVENT): _S.DROPPING,
        (_S.WRITING, _I.LONE_DOT): _S.CMD_RECVD,
        (_S.DROPPING, _I.LONE_DOT): _S.CMD_RECVD,
        **{(state, _I.CLOSE): _S.CLOSED for state in ServerState},
    }
)


class ClientState(enum.Enum):
    IDLE = "idle"
    CON_PEND = "conPend"
    CONNECTED = "connected"
    EHLO_PEND = "ehloPend"
    TLS_PEND = "tlsPend"
    HANDSHAKE = "handshake"
    SASL = "sasl"
    ANSWERING = "answering"
    AUTHENTICATED = "authenticated"
    CMD_PEND = "cmdPend"
    IN_BODY = "inBody"
    SENDING = "sending"
    LEAVING = "leaving"
    CLOSED = "closed"


class ClientInput(enum.Enum):
    CONNECT = "uCon/sCon"
    GREETED = "sConOk/sHello"
    EHLO = "EHLO"
    EHLO_ANSWERED = "250 or refused"
    STARTTLS = "STARTTLS"
    TLS_READY = "220 Ready to start TLS"
    TLS_UP = "TLS is up"
    AUTHENTICATE = "AUTHENTICATE"
    CHALLENGE = "challenge"
    RESPONSE = "response"
    AUTH_OK = "sAuthOk"
    AUTH_FAILED = "sFailAuth"
    COMMAND = "uCmd/sCmd"
    ANSWERED = "sCmdOk or sCmdError"
    DATA = "220 DATA"
    BODY_ENDED = "body ended"
    GO_AHEAD = "354"
    LONE_DOT = "lone dot"
    QUIT = "uQuit"
    CLOSE = "sDone"


_C, _J = ClientState, ClientInput
CLIENT: Mapping[tuple[ClientState, ClientInput], ClientState] = MappingProxyType(
    {
        (_C.IDLE, _J.CONNECT): _C.CON_PEND,
        (_C.CON_PEND, _J.GREETED): _C.CONNECTED,
        (_C.CONNECTED, _J.EHLO): _C.EHLO_PEND,
        (_C.EHLO_PEND, _J.EHLO_ANSWERED): _C.CONNECTED,
        (_C.CONNECTED, _J.STARTTLS): _C.TLS_PEND,
        (_C.TLS_PEND, _J.TLS_READY): _C.HANDSHAKE,
        (_C.HANDSHAKE, _J.TLS_UP): _C.CONNECTED,
        (_C.CONNECTED, _J.AUTHENTICATE): _C.SASL,
        (_C.SASL, _J.CHALLENGE): _C.ANSWERING,
        (_C.ANSWERING, _J.RESPONSE): _C.SASL,
        (_C.SASL, _J.AUTH_OK): _C.AUTHENTICATED,
        (_C.SASL, _J.AUTH_FAILED): _C.CONNECTED,
        (_C.AUTHENTICATED, _J.COMMAND): _C.CMD_PEND,
        (_C.CMD_PEND, _J.ANSWERED): _C.AUTHENTICATED,
        (_C.CMD_PEND, _J.DATA): _C.IN_BODY,
        (_C.IN_BODY, _J.BODY_ENDED): _C.AUTHENTICATED,
        (_C.CMD_PEND, _J.GO_AHEAD): _C.SENDING,
        (_C.SENDING, _J.LONE_DOT): _C.CMD_PEND,
        (_C.CONNECTED, _J.QUIT): _C.LEAVING,
        (_C.AUTHENTICATED, _J.QUIT): _C.LEAVING,
        **{(state, _J.CLOSE): _C.CLOSED for state in ClientState},
    }
)


class Verdict(enum.Enum):
    """What a line that is a command means in a state."""

    RUN = "runs"
    LOGIN_FIRST = "530"
    NOT_NOW = "503"
    DATA = "is no command here: a SASL response, an event, or the end of FOLLOW"
    WAITS = "is not read before the pending reply is written"
    ABSORBED = "is dropped: the session is over"


_BEFORE_LOGIN = frozenset({"EHLO", "CAPABILITIES", "STARTTLS", "AUTHENTICATE", "HELP", "NOOP", "QUIT"})
_NEVER_AFTER_LOGIN = frozenset({"STARTTLS", "AUTHENTICATE"})


def verdict(state: ServerState, verb: str) -> Verdict:
    """What `verb` means in `state`: decided for every pair."""
    if state is ServerState.READY:
        return Verdict.NOT_NOW if verb in _NEVER_AFTER_LOGIN else Verdict.RUN
    if state is ServerState.ACCEPTING:
        return Verdict.RUN if verb in _BEFORE_LOGIN else Verdict.LOGIN_FIRST
    if state in (ServerState.SASL, ServerState.WRITING, ServerState.DROPPING, ServerState.FOLLOWING):
        return Verdict.DATA
    if state is ServerState.CLOSED:
        return Verdict.ABSORBED
    return Verdict.WAITS


class IllegalMove(Exception):
    """A state machine was driven against its table: a fault of this program.  Retry: no."""


def diagram(
    table: Mapping[tuple[ServerState, ServerInput], ServerState]
    | Mapping[tuple[ClientState, ClientInput], ClientState],
) -> str:
    """The table as a Mermaid state diagram; the way to `closed`, open from everywhere, is drawn once."""
    rows = ["stateDiagram-v2"]
    merged: dict[tuple[str, str], list[str]] = {}
    for (state, what), after in table.items():
        if after.value != "closed":
            merged.setdefault((state.value, after.value), []).append(what.value)
    rows += [f"    {old} --> {new}: {' / '.join(whats)}" for (old, new), whats in merged.items()]
    rows.append("    note right of closed: from every state; it absorbs everything")
    return "\n".join(rows)


if __name__ == "__main__":
    print(diagram(SERVER))
    print()
    print(diagram(CLIENT))
