"""Hears what two agents say to each other inside TLS: it shows the one that connects a certificate that this one trusts."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

from servers.in_thread import InThread


class Tap(InThread):
    """Listens on a free port and passes on to `target`, whose certificate holds `name` and comes from `trust`.

    `asked` is what came from those who connected, `answered` what came back, of all connections one behind the other.
    """

    def __init__(
        self, target: tuple[str, int], certificate: tuple[Path, Path], trust: Path, name: str
    ) -> None:
        self._target, self._trust, self._name = target, trust, name
        self.asked, self.answered = bytearray(), bytearray()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*certificate)
        super().__init__(tls)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = ssl.create_default_context(cafile=str(self._trust))
        with contextlib.suppress(OSError, asyncio.CancelledError):  # either end may leave, and `close` comes
            there, back = await asyncio.open_connection(*self._target, ssl=tls, server_hostname=self._name)
            await asyncio.gather(_pass(reader, back, self.asked), _pass(there, writer, self.answered))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    try:
        while octets := await reader.read(65536):
            heard += octets
            writer.write(octets)
            await writer.drain()
    finally:
        writer.close()
