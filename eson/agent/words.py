"""What others said, as part of what we say."""

from __future__ import annotations

import re

MAX_TEXT = 200
"""Characters."""


def cleaned(said: str) -> str:
    """Another's text as part of a line of ours: printable, short, and never what simple clients take for an end."""
    plain = "".join(one if one.isprintable() else "?" for one in said[: MAX_TEXT + 1])
    if len(plain) > MAX_TEXT:
        plain = plain[:MAX_TEXT] + "…"
    return re.sub(r"220 (OK|DATA)", r"220_\1", plain)
