"""Puts a participant together for `twistd eson`: options, sockets, rooms, and the order in which they start and stop."""

from eson.tap.options import Options
from eson.tap.service import makeService

__all__ = ["Options", "makeService"]
