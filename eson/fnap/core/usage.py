"""The verbs of FNAP and how each is used, as HELP and `501` say it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

USAGE: Mapping[str, str] = MappingProxyType(
    {
        "EHLO": "EHLO [NAME]",
        "CAPABILITIES": "CAPABILITIES",
        "STARTTLS": "STARTTLS",
        "AUTHENTICATE": "AUTHENTICATE MECHANISM [BASE64 | =]",
        "CREATE": "CREATE FLOW NAME | NAMESPACE NAME [KEY=VALUE …]",
        "DESCRIBE": "DESCRIBE FLOW | NAMESPACE | NAMESERVER | BROKER | AGENT | PROCESSOR NAME",
        "UPDATE": "UPDATE FLOW NAME | NAMESPACE NAME KEY=VALUE …",
        "DELETE": "DELETE FLOW NAME | NAMESPACE NAME [FORCE]",
        "GET": "GET NAMESPACES [NAME] | FLOWS [NAME] | SUBSCRIPTIONS [FLOW] | SUBSCRIBERS FLOW | CREDENTIAL NAME"
        " | GRANTS [NAME] | BROKERS | AGENTS | PROCESSORS | NAMESERVERS, lists with [AFTER NAME] [LIMIT N]",
        "SUBSCRIBE": "SUBSCRIBE FLOW [LOCAL FLOW] [FROM POSITION] [AS TOKEN]",
        "UNSUBSCRIBE": "UNSUBSCRIBE COPY | FLOW | PROCESSOR",
        "APPROVE": "APPROVE SUBSCRIBER NAME [PRINCIPAL] [REASON]",
        "DENY": "DENY SUBSCRIBER NAME [PRINCIPAL] [REASON]",
        "REMOVE": "REMOVE SUBSCRIBER NAME [PRINCIPAL] [REASON]",
        "PAUSE": "PAUSE SUBSCRIPTION ID",
        "RESUME": "RESUME SUBSCRIPTION ID",
        "STOP": "STOP SUBSCRIPTION ID",
        "NOTIFY": "NOTIFY COPY requested | pending | active | paused | stopped | failing | ended",
        "READ": "READ FLOW [FROM POSITION] [LIMIT N | FOLLOW]",
        "WRITE": "WRITE FLOW, then one CloudEvent a line, then a lone dot",
        "GRANT": "GRANT RIGHTS ON NAME TO PRINCIPAL [UNTIL TIME] [RATE N/s]",
        "REVOKE": "REVOKE RIGHTS ON NAME FROM PRINCIPAL",
        "REPLICATE": "REPLICATE FLOW [TO] FLOW",
        "COLLECT": "COLLECT FLOW … [TO] FLOW",
        "DISTRIBUTE": "DISTRIBUTE FLOW [TO] FLOW …",
        "SIGNAL": "SIGNAL FLOW … TO FLOW … [WHEN EXPRESSION]",
        "FORMAT": "FORMAT TEXT | JSON",
        "WHOAMI": "WHOAMI",
        "HELP": "HELP [VERB]",
        "NOOP": "NOOP",
        "QUIT": "QUIT",
    }
)
