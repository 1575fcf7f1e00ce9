"""aiosmtpd as a peer of the FNAP server: `python -m bench.smtp_peer [CHAIN KEY]` prints its port, and ends with stdin."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import ROOT


@contextmanager
def running_smtp(chain: Path | None = None, key: Path | None = None) -> Iterator[tuple[int, int]]:
    """aiosmtpd in a process of its own, with TLS from the first octet if it gets a certificate; (port, process id)."""
    words = [str(word) for word in (chain, key) if word]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.smtp_peer", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait(30)


async def serve(words: list[str]) -> None:
    from aiosmtpd.handlers import Sink
    from aiosmtpd.smtp import SMTP

    loop = asyncio.get_running_loop()
    tls = None
    if words:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*words)
    server = await loop.create_server(
        lambda: SMTP(Sink(), hostname="peer", timeout=3600, loop=loop), "127.0.0.1", 0, ssl=tls, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(0, ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
