"""Apache Kafka from Maven Central, fetched once into the user's cache; and its Java tools as child processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
FETCH_TIMEOUT = 300.0
LOGGING = """\
status=error
appender.c.type=Console
appender.c.name=C
appender.c.target=SYSTEM_ERR
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRefs=c
rootLogger.appenderRef.c.ref=C
"""
# small and quick to start: the tests look for behaviour, not for speed
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto")


class JavaMissing(Exception):
    """There is no `java` or no `mvn` on this machine."""


def missing_programs() -> list[str]:
    """Which of the programs that real Kafka needs are not here."""
    return [program for program in ("java", "mvn") if shutil.which(program) is None]


@dataclass(frozen=True)
class Jars:
    """The folder that holds Kafka's jars in `lib/` and the logging configuration."""

    root: Path

    def command(self, main: str, *arguments: str, heap: str = "128m") -> list[str]:
        """The command that runs the class `main`; the JVM, not the shell, expands the star."""
        return [
            *("java", "-Xms32m", f"-Xmx{heap}", *JVM),
            f"-Dlog4j2.configurationFile={self.root / 'log4j2.properties'}",
            *("-cp", f"{self.root / 'lib'}/*", main, *arguments),
        ]

    def run(
        self, main: str, *arguments: str, stdin: str | None = None, timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of Kafka's own clients to its end, e.g. `run(CONSOLE_CONSUMER, "--bootstrap-server", …)`."""
        return subprocess.run(
            self.command(main, *arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    def start(self, main: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts one of Kafka's own clients and gives its pipes; the caller ends it."""
        return subprocess.Popen(
            self.command(main, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
VERIFIABLE_PRODUCER = "org.apache.kafka.tools.VerifiableProducer"
VERIFIABLE_CONSUMER = "org.apache.kafka.tools.VerifiableConsumer"
TOPICS = "org.apache.kafka.tools.TopicCommand"
ACLS = "org.apache.kafka.tools.AclCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"
STORAGE = "kafka.tools.StorageTool"
SERVER = "kafka.Kafka"


def client_properties(path: Path, username: str, password: str, extra: Mapping[str, str] = {}) -> Path:
    """Writes the file that Java clients take by `--command-config`: SASL with SCRAM-SHA-256, in the clear."""
    login = f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{username}" password="{password}";'
    values = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.jaas.config": login,
        **extra,
    }
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    return path


def fetch() -> Jars:
    """Kafka's jars: from the cache, else from Maven.  Raises `JavaMissing`; `CalledProcessError` with Maven's words."""
    if missing := missing_programs():
        raise JavaMissing(
            f"real Kafka needs {' and '.join(missing)}: scripts/install-test-servers installs them"
        )
    text = POM.read_text()
    version = re.findall(r"<kafka\.version>([\d.]+)<", text)[0]
    digest = hashlib.sha256((text + LOGGING).encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eson-tests"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"kafka-{version}-{digest}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once fetch once
        if not root.exists():
            _fetch_into(root)
    return Jars(root)


def _fetch_into(root: Path) -> None:
    """Fetches beside `root` and renames, so that what has the name is whole."""
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        made = Path(temporary) / "kafka"
        made.mkdir()
        command: Sequence[str] = (
            *("mvn", "-B", "-q", "-f", str(POM), COPY),
            *("-DincludeScope=runtime", f"-DoutputDirectory={made / 'lib'}"),
        )
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT, cwd=temporary, check=False
        )
        if done.returncode != 0 or not any((made / "lib").glob("kafka_*.jar")):
            raise RuntimeError(f"Maven could not fetch Kafka:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        (made / "log4j2.properties").write_text(LOGGING)
        made.rename(root)


if __name__ == "__main__":
    fetch()
