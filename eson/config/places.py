"""What lies where below the state directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Paths below `state:`; nothing is made here."""

    state: Path

    @property
    def lock(self) -> Path:
        """Held by the one agent of this directory."""
        return self.state / "agent.lock"

    @property
    def listeners(self) -> Path:
        """Where everything listens, while it does."""
        return self.state / "listeners.json"

    @property
    def store(self) -> Path:
        return self.state / "store.sqlite"

    @property
    def keys(self) -> Path:
        return self.state / "keys"

    @property
    def sealing_key(self) -> Path:
        """What encrypts secrets in the store."""
        return self.keys / "store.key"

    @property
    def journals(self) -> Path:
        """Positions of processors."""
        return self.state / "processors"

    def broker(self, name: str) -> Path:
        """The log of an embedded broker."""
        return self.state / "brokers" / name

    @property
    def names(self) -> Path:
        """What the name server keeps, such as serials of its zones."""
        return self.state / "names"
