"""ESON, the Event Streaming Open Network: flows with DNS names, discovered, subscribed and carried between brokers."""

__version__ = "0.1.0"
