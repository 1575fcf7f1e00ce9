"""What stands behind `twistd eson`."""

from __future__ import annotations

import os
import sys

from twisted.python import usage

from eson.admin.checking import checked
from eson.config import Config, chosen
from eson.errors import ConfigError


class Options(usage.Options):
    """Reads the configuration at once, so that what is wrong with it is said before anything starts.

    `config` holds it afterwards; `logfile`, `syslog` and `nodaemon` are twistd's own.
    """

    synopsis = "[--config FILE] [--check]"
    longdesc = "The accessing agent (FNAA) of a participant of the Event Streaming Open Network."
    optParameters = [
        ["config", "c", None, "The configuration. [default: $ESON_CONFIG, else /etc/eson/eson.yaml]"]
    ]
    optFlags = [["check", None, "Only say what is wrong with the configuration."]]

    config: Config

    def postOptions(self) -> None:
        path = chosen(self["config"], os.environ)
        try:
            self.config = checked(path)
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from None
        if self["check"]:
            sys.stdout.write(f"{path}: no faults; agent {self.config.agent} of {self.config.participant}\n")
            raise SystemExit(0)

    @property
    def logfile(self) -> str:
        """twistd's `--logfile`: "" if it is not given."""
        return str(self._of_twistd("logfile") or "")

    @property
    def syslog(self) -> bool:
        return bool(self._of_twistd("syslog"))

    @property
    def nodaemon(self) -> bool:
        return bool(self._of_twistd("nodaemon"))

    def _of_twistd(self, name: str) -> object:
        return None if self.parent is None else self.parent.get(name)
