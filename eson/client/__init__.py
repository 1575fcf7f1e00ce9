"""A flow-aware library for Twisted programs: resolve, connect, read, write, subscribe (docs/client.md)."""

from eson.client.agent import Agent, BrokerCredential, Subscription
from eson.client.client import Client, FlowLocation
from eson.client.streams import Events

__all__ = [
    "Agent",
    "BrokerCredential",
    "Client",
    "Events",
    "FlowLocation",
    "Subscription",
]
