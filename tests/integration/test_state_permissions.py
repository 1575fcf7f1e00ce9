"""What other users of the machine can open of a participant that was started with umask 000."""

from __future__ import annotations

import os
from pathlib import Path

from servers.participant import Participant, Wire

PUBLIC = {"listeners.json", "ca.pem", "agent.pem"}
"""Files without secrets; that they lie in a closed directory holds for them too."""


def test_the_state_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    """Store, keys, locks, journals and the broker's log, with a flow and a subscription that made them."""
    before = os.umask(0)
    try:
        with Participant("unix.ar", tmp_path) as unix:
            unix.start()
            with Wire(unix.address("fnap")).login() as wire:
                assert wire.reply("CREATE FLOW a.flows.unix.ar visibility=public")[-1].startswith("220 OK")
                assert wire.reply("SUBSCRIBE a.flows.unix.ar")[-1] == "220 OK"
            files = [one for one in unix.state.rglob("*") if not one.is_symlink()]
            open_ones = {one.name for one in files if one.stat().st_mode & 0o077}
            assert {"store.sqlite", "catalogue"} <= {one.name for one in files}
            assert open_ones <= PUBLIC
            assert unix.state.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
