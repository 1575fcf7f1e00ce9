"""`fnua` as a program, with the user's file of one participant."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import uuid
from typing import Any

from servers.participant import BIN, Participant


class Fnua:
    """The program with the user's file of one participant."""

    def __init__(self, participant: Participant) -> None:
        shared = participant.write_user_agent()
        self.file = shared.with_name(f"fnua-{uuid.uuid4()}.yaml")  # tests change it
        shutil.copy(shared, self.file)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [BIN / "fnua", "-c", self.file, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, text: str = "", status: int = 0) -> str:
        """What it prints; it must end with that status."""
        with self.start(*words) as process:
            out, err = process.communicate(text.encode(), 60)
        assert process.returncode == status, f"{words}: {process.returncode}: {err.decode()}"
        self.told = err.decode()
        return out.decode()

    def follow(self, flow: str, count: int) -> list[str]:
        """The ids of the first events of a flow, waited for."""
        with self.start("read", flow, "--follow", "--from", "BEGINNING") as follower:
            assert follower.stdout is not None
            found = [str(json.loads(follower.stdout.readline())["id"]) for _ in range(count)]
            follower.send_signal(signal.SIGINT)
            follower.communicate(timeout=30)
        assert follower.returncode == 0
        return found

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """What it prints as JSON, one object for each line."""
        return [json.loads(line) for line in self.run("-o", "json", *words).splitlines()]
