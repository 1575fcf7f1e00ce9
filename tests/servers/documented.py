"""The examples of docs/kafka.md, as the tests use them: with other addresses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from servers.kafka_jars import ACLS, CONFIGS, Jars

PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"
MAINS = {"kafka-acls.sh": ACLS, "kafka-configs.sh": CONFIGS}
AGENT, AGENT_PASSWORD = "eson", "a-long-one"
"""The agent's user, as the page's commands make it."""


def settings(name: str) -> dict[str, Any]:
    """The part of `eson.yaml` that the page shows behind `<!-- name -->`."""
    found = re.search(rf"<!-- {name} -->\n```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"{PAGE} has no example called {name}"
    part: dict[str, Any] = yaml.safe_load(found[1])
    return part


def secret(path: Path, text: str) -> str:
    """Writes a file that its owner alone can read; the path, as `password_file` takes it."""
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def make_agents_user(jars: Jars, bootstrap: str, login: Path) -> None:
    """Runs the page's commands, all at once; `login` is the administrator's file."""
    text = PAGE.read_text().replace("\\\n", " ").replace("$KAFKA", bootstrap)
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith(tuple(MAINS))]
    assert len(lines) == 4
    children = [
        jars.start(MAINS[name], *(str(login) if one == "admin.properties" else one for one in arguments))
        for name, *arguments in lines
    ]
    for child in children:
        output, errors = child.communicate(timeout=60)
        assert child.returncode == 0, output + errors
