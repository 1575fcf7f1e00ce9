"""Files that the configuration names: secrets that others cannot read, certificates, directories."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from eson.config.reading import Entry, Unfit
from eson.config.scalars import text
from eson.config.values import Secret

_PIN = re.compile(r"pin-sha256:[A-Za-z0-9+/]{43}=\Z")
OTHERS = stat.S_IROTH | stat.S_IWOTH


def is_private(path: Path) -> bool:
    """Whether only the owner and the group can read and write the file."""
    return not path.stat().st_mode & OTHERS


def path(entry: Entry) -> Path:
    """A path, relative to the configuration's directory; it may not exist yet."""
    try:
        return (entry.directory / Path(text(entry)).expanduser()).absolute()
    except RuntimeError:  # ~NAME of nobody
        raise Unfit("begins with the home of an unknown user", "Write the path in full") from None


def file(entry: Entry) -> Path:
    """A file that is there and can be read."""
    found = path(entry)
    try:
        with found.open("rb"):
            return found
    except OSError as error:
        raise Unfit(
            f"{found} cannot be read: {error.strerror}", "Give the path of a file that the agent can read"
        ) from None


def private_file(entry: Entry) -> Path:
    """A file that holds a secret: others must not be able to read or to change it."""
    found = file(entry)
    if not is_private(found):
        raise Unfit(f"{found} holds a secret and others can read it", f"Run: chmod o= {found}")
    return found


def trust(entry: Entry) -> str:
    """`system`, or the absolute path of a PEM file."""
    return "system" if text(entry) == "system" else str(file(entry))


def pin_or_trust(entry: Entry) -> str:
    """As `trust`, or `pin-sha256:` and the base64 of a SHA-256."""
    value = text(entry)
    if not value.startswith("pin-sha256:"):
        return trust(entry)
    if not _PIN.match(value):
        raise Unfit("is no pin", "Write pin-sha256: and the base64 of the SHA-256 of the server's public key")
    return value


def secret(entry: Entry) -> Secret:
    """A secret in the configuration itself, whose file must then be private."""
    entry.faults.holds_secret(entry.path)
    return Secret(text(entry))


def secret_file(entry: Entry) -> Secret:
    """A secret on the first line of a private file."""
    try:
        lines = private_file(entry).read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise Unfit("is no text in UTF-8", "Write the secret on the first line") from None
    if not lines or not lines[0]:
        raise Unfit("has an empty first line", "Write the secret on the first line")
    return Secret(lines[0])
