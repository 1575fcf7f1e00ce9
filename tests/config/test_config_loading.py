"""The configuration: what loads, and that all faults are said at once, each with its line and remedy."""

from __future__ import annotations

import os
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eson.config import Config, load
from eson.config.values import Address, EmbeddedBroker, KafkaBroker, Secret
from eson.errors import ConfigError, Fault
from eson.model.flows import Namespace, Visibility
from eson.model.principals import user

SMALLEST = """\
participant: unix.ar
agent: fnaa.unix.ar
namespaces: [{name: flows.unix.ar}]
"""

EVERYTHING = """\
participant: unix.ar
agent: fnaa.unix.ar
state: state
address: [127.0.0.1, "::1"]
fnap:
  listen: ["127.0.0.1:61000"]
  listen_tls: ["127.0.0.1:61001"]
  certificate: agent.pem
  key: agent.key
  trust: ca.pem
  login_in_clear: never
  tls: intermediate
identity:
  mechanisms: [SCRAM-SHA-256, PLAIN]
  accounts:
    - {name: test, password: test, home: flows.unix.ar, groups: [staff], operator: true}
    - {name: emiliano, password_file: emiliano.password, participant: emiliano.ar}
  oauth: null
  gssapi: null
names:
  listen: ["127.0.0.1:5300"]
  zones: [{name: unix.ar, hosts: {fnaa: 127.0.0.1, kf1: [127.0.0.1, "::1"], "@": 127.0.0.1}}]
  secondaries: []
  servers: []
  resolver: "192.0.2.53:53"
  resolve: {emiliano.ar: "127.0.0.1:52053"}
  dnssec: false
  poc_records: true
  catalogue: 100
  ttl: {flow: 800, copy: 50, negative: 40}
brokers:
  - {name: local, type: embedded, listen: ["127.0.0.1:9092"], listen_tls: ["127.0.0.1:9093"], advertise: "kf1.unix.ar:9092",
     login: none, sync: always, retention: 7d}
  - name: main
    type: kafka
    servers: ["kf1.unix.ar:9092", "[2001:db8::1]:9092"]
    security: sasl_ssl
    mechanism: SCRAM-SHA-512
    username: eson
    password_file: kafka.password
    trust: ca.pem
    credentials: issue
namespaces:
  - name: Flows.Unix.ar.
    broker: main
    copies: local
    public: embedded
    private: null
    visibility: private
    administrators: ["user:test"]
copies: {retention: 12h, bytes: 2GiB, lease: 3d}
remotes:
  - {agent: fnaa.emiliano.ar, address: "127.0.0.1:51001", tls: starttls, trust: ca.pem, mechanism: SCRAM-SHA-256,
     username: unix, password_file: kafka.password, as: user}
allow_private: [127.0.0.0/8]
processors: {per_process: 1, start_rate: 10, launcher: spawn}
limits: {line: 4096, sasl_line: 8KiB, event: 2MiB, login: 50s, sasl_step: 20s, idle: 10m, command: 500ms,
         bad_commands: {before_login: 4, after: 10}, connections: {total: 100, per_address: 5, per_user: 2},
         flows_per_account: 10, subscriptions_per_participant: 11, pending: 12}
web: {listen: null, metrics: ["127.0.0.1:0"]}
log: {level: debug, format: json}
"""


def write(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "eson.yaml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def faults_of(directory: Path, text: str, mode: int = 0o600) -> dict[str, Fault]:
    with pytest.raises(ConfigError) as caught:
        load(write(directory, text, mode))
    return {fault.key: fault for fault in caught.value.faults}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the files that a configuration names."""
    for name, text in (
        ("agent.pem", "certificate\n"),
        ("agent.key", "key\n"),
        ("ca.pem", "ca\n"),
        ("emiliano.password", "from a file\nsecond line\n"),
        ("kafka.password", "kafka's\n"),
        ("open.password", "seen\n"),
        ("empty.password", "\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o640 if "password" in name or "key" in name else 0o644)
    (tmp_path / "open.password").chmod(0o644)
    (tmp_path / "latin.password").write_bytes(b"\xff\xfe\n")
    (tmp_path / "latin.password").chmod(0o600)
    return tmp_path


def test_the_smallest_file_gives_every_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, SMALLEST, 0o644))
    namespace = Namespace(name="flows.unix.ar", broker="local", copies="local")
    assert config == Config("unix.ar", "fnaa.unix.ar", (namespace,))
    assert config.brokers == (EmbeddedBroker("local"),)
    assert config.fnap.listen == (Address("127.0.0.1", 61000),)
    assert config.web.metrics == (Address("127.0.0.1", 9464),)
    assert config.web.listen == ()
    assert config.limits.idle == timedelta(minutes=30)


def test_every_key_is_read(place: Path) -> None:
    config = load(write(place, EVERYTHING))
    assert config.state == place / "state"
    assert config.address == (IPv4Address("127.0.0.1"), IPv6Address("::1"))
    assert config.fnap.certificate == place / "agent.pem"
    assert config.fnap.trust == str(place / "ca.pem")
    test, emiliano = config.identity.accounts
    assert (test.operator, test.groups, test.password) == (True, ("staff",), Secret("test"))
    assert (emiliano.participant, emiliano.password) == ("emiliano.ar", Secret("from a file"))
    assert config.names.zones[0].hosts["@"] == (IPv4Address("127.0.0.1"),)
    assert config.names.resolver == Address("192.0.2.53", 53)
    assert config.names.resolve == {"emiliano.ar": Address("127.0.0.1", 52053)}
    local, main = config.brokers
    assert isinstance(local, EmbeddedBroker)
    assert local.advertise == Address("kf1.unix.ar", 9092)
    assert isinstance(main, KafkaBroker)
    assert main.servers[1] == Address("2001:db8::1", 9092)
    assert main.issues_credentials
    assert config.namespaces == (
        Namespace(
            name="flows.unix.ar",
            broker="main",
            copies="local",
            visibility=Visibility.PRIVATE,
            administrators=(user("test"),),
        ),
    )
    assert (config.copies.bytes, config.copies.lease) == (2 * 1024**3, timedelta(days=3))
    assert config.remotes[0].login_as == "user"
    assert config.allow_private == (IPv4Network("127.0.0.0/8"),)
    assert config.limits.sasl_line == 8192
    assert config.limits.command == timedelta(milliseconds=500)
    assert config.limits.connections.per_user == 2
    assert config.log.format == "json"


def test_secrets_do_not_show(place: Path) -> None:
    config = load(write(place, EVERYTHING))
    assert "from a file" not in repr(config)
    assert "kafka's" not in f"{config} {config.brokers[1]}"


def test_all_faults_are_said_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = (
        SMALLEST + "colour: red\nlog: {level: loud, form: json}\nlimits:\n  idle: soon\n  event: 7 apples\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert [(f.line, f.key) for f in caught.value.faults] == [
        (4, "colour"),
        (5, "log.level"),
        (5, "log.form"),
        (7, "limits.idle"),
        (8, "limits.event"),
    ]
    assert "Did you mean `format`?" in caught.value.text
    assert str(tmp_path / "eson.yaml") + ":5: log.level: " in caught.value.text
    assert all(f.reason and f.remedy for f in caught.value.faults)


@pytest.mark.parametrize("key", ["participant", "agent", "namespaces"])
def test_what_has_no_default_must_be_said(tmp_path: Path, key: str) -> None:
    text = "".join(line + "\n" for line in SMALLEST.splitlines() if not line.startswith(key))
    assert faults_of(tmp_path, text)[key].reason == "is missing"


NOT_YET = [
    ("names: {secondaries: [{host: '192.0.2.53:53', key_file: x}]}", "names.secondaries"),
    ("names: {servers: [{name: bind, host: 'ns1.unix.ar:53', key_file: x}]}", "names.servers"),
    ("names: {dnssec: true}", "names.dnssec"),
    ("web: {listen: ['127.0.0.1:8080']}", "web.listen"),
    ("identity: {oauth: {issuer: x}}", "identity.oauth"),
    ("identity: {gssapi: {keytab: x}}", "identity.gssapi"),
    ("identity: {mechanisms: [EXTERNAL]}", "identity.mechanisms[0]"),
    ("identity: {mechanisms: [PLAIN, SCRAM-SHA-256-PLUS]}", "identity.mechanisms[1]"),
    ("processors: {launcher: kubernetes}", "processors.launcher"),
    ("brokers: [{name: rabbit, type: amqp}]", "brokers[0].type"),
    ("brokers: [{name: nats, type: nats}]", "brokers[0].type"),
]


@pytest.mark.parametrize(("text", "key"), NOT_YET)
def test_what_is_not_built_yet_is_refused_when_a_file_sets_it(tmp_path: Path, text: str, key: str) -> None:
    fault = faults_of(tmp_path, SMALLEST + text + "\n")[key]
    assert "not available yet" in fault.reason
    assert fault.line == 4


WRONG = [
    # one key alone
    ("participant: unix", "participant", "needs at least two labels"),
    ("agent: 'fnaa.unix .ar'", "agent", ""),
    ("state: ''", "state", "is empty"),
    ("address: [here]", "address[0]", "is no IP address"),
    ("address: 127.0.0.1", "address", "is no list"),
    ("address: []", "address", "has no address"),
    ("fnap: []", "fnap", "is no mapping"),
    ("fnap: {listen: ['fnaa.unix.ar:1']}", "fnap.listen[0]", "is no IP address"),
    ("fnap: {listen: ['127.0.0.1']}", "fnap.listen[0]", "is no address with a port"),
    ("fnap: {listen: ['127.0.0.1:65536']}", "fnap.listen[0]", "is no address with a port"),
    ("fnap: {listen: ['::1:61000']}", "fnap.listen[0]", "ambiguous"),
    ("fnap: {listen: null, listen_tls: []}", "fnap", "has no listener"),
    ("fnap: {tls: old}", "fnap.tls", "not known"),
    ("fnap: {login_in_clear: always}", "fnap.login_in_clear", "not known"),
    ("fnap: {trust: nowhere.pem}", "fnap.trust", "cannot be read"),
    ("fnap: {certificate: agent.pem}", "fnap.certificate", "without `key`"),
    ("fnap: {key: agent.key}", "fnap.key", "without `certificate`"),
    ("fnap: {certificate: agent.pem, key: open.password}", "fnap.key", "others can read it"),
    ("identity: {mechanisms: []}", "identity.mechanisms", "lets nobody in"),
    ("identity: {mechanisms: [PLAIN, PLAIN]}", "identity.mechanisms", "twice"),
    ("identity: {accounts: [{name: test}]}", "identity.accounts[0]", "has no password"),
    ("identity: {accounts: [{name: te st, password: x}]}", "identity.accounts[0].name", "is no name"),
    ("identity: {accounts: [{name: a, password: x, password_file: kafka.password}]}", "identity.accounts[0].password_file", "contradicts `password`"),
    ("identity: {accounts: [{name: a, password_file: open.password}]}", "identity.accounts[0].password_file", "others can read it"),
    ("identity: {accounts: [{name: a, password_file: nowhere}]}", "identity.accounts[0].password_file", "cannot be read"),
    ("identity: {accounts: [{name: a, password_file: empty.password}]}", "identity.accounts[0].password_file", "empty first line"),
    ("identity: {accounts: [{name: a, password_file: latin.password}]}", "identity.accounts[0].password_file", "UTF-8"),
    ('identity: {accounts: [{name: a, password: "a\\0b"}]}', "identity.accounts[0].password", "control character"),
    ("identity: {accounts: [{name: a, password: x, operator: maybe}]}", "identity.accounts[0].operator", "neither true nor false"),
    ("identity: {accounts: [{name: a, password: x, participant: unix.ar}]}", "identity.accounts[0].participant", "this participant itself"),
    ("identity: {accounts: [{name: a, password: x, participant: b.ar, operator: true}]}", "identity.accounts[0].operator", "another participant"),
    ("identity: {accounts: [{name: a, password: x}, {name: a, password: y}]}", "identity.accounts[1]", "twice among accounts"),
    ("names: {zones: [{name: unix.ar, hosts: {'a b': 127.0.0.1}}]}", "names.zones[0].hosts.a b", "is no host name"),
    ("names: {zones: [{name: unix.ar, hosts: {a: []}}]}", "names.zones[0].hosts.a", "has no address"),
    ("names: {zones: [{name: unix.ar, hosts: {a: 127.0.0.1, A: 127.0.0.1}}]}", "names.zones[0].hosts.A", "twice"),
    ("names: {zones: [{name: unix.ar}, {name: unix.ar}]}", "names.zones[1]", "twice among zones"),
    ("names: {zones: [{hosts: {}}]}", "names.zones[0].name", "is missing"),
    ("names: {resolver: '127.0.0.1:0'}", "names.resolver", "has port 0"),
    ("names: {resolve: {ar: '127.0.0.1:53'}}", "names.resolve.ar", ""),
    ("names: {catalogue: 2001}", "names.catalogue", "is no number"),
    ("names: {ttl: {flow: -1}}", "names.ttl.flow", "is no number"),
    ("brokers: []", "brokers", "has no broker"),
    ("brokers: [local]", "brokers[0]", "is no mapping"),
    ("brokers: [{type: embedded}]", "brokers[0].name", "is missing"),
    ("brokers: [{name: a, type: fax}]", "brokers[0].type", "not known"),
    ("brokers: [{name: a, servers: ['b.ar:1']}]", "brokers[0].servers", "is no key of brokers of type embedded"),
    ("brokers: [{name: a, listen: null}]", "brokers[0].listen", "without a listener"),
    ("brokers: [{name: a, login: none, listen: ['0.0.0.0:9092']}]", "brokers[0].login", "faces other machines"),
    ("brokers: [{name: a, listen_tls: ['0.0.0.0:9093']}]", "brokers[0].listen_tls", "without a certificate"),
    ("brokers: [{name: a, sync: never}]", "brokers[0].sync", "not known"),
    ("brokers: [{name: a}, {name: a, listen: ['127.0.0.1:0']}]", "brokers[1]", "twice among brokers"),
    ("brokers: [{name: a, type: kafka}]", "brokers[0].servers", "has no server"),
    ("brokers: [{name: a, type: kafka, servers: ['b.ar:1'], login: none}]", "brokers[0].login", "is no key of brokers of type kafka"),
    ("brokers: [{name: a, type: kafka, servers: ['b.ar:1'], security: sasl_ssl}]", "brokers[0]", "without a login"),
    ("brokers: [{name: a, type: kafka, servers: ['b.ar:1'], username: b}]", "brokers[0].username", "of no use"),
    ("brokers: [{name: a, type: kafka, servers: ['b.ar:1'], credentials: issue}]", "brokers[0].credentials", "cannot be issued"),
    ("brokers: [{name: a, type: kafka, servers: ['b.ar:1'], trust: ca.pem}]", "brokers[0].trust", "of no use"),
    ("namespaces: [{name: a.ar, broker: b}]", "namespaces[0].broker", "is no broker of this file"),
    ("namespaces: [{name: a.ar, copies: b}]", "namespaces[0].copies", "is no broker of this file"),
    ("namespaces: [{name: a.ar}, {name: A.ar}]", "namespaces[1]", "twice among namespaces"),
    ("namespaces: [{name: a.ar, visibility: hidden}]", "namespaces[0].visibility", "not known"),
    ("namespaces: [{name: a.ar, administrators: [test]}]", "namespaces[0].administrators[0]", "names nobody"),
    ("namespaces: [{name: a.ar, public: bind}]", "namespaces[0].public", "not available yet"),
    ("namespaces: [{name: a.ar, private: bind}]", "namespaces[0].private", "not available yet"),
    ("copies: {retention: 0s}", "copies.retention", "no length of time"),
    ("copies: {bytes: 0}", "copies.bytes", "no size"),
    ("remotes: [{address: '127.0.0.1:1'}]", "remotes[0].agent", "is missing"),
    ("remotes: [{agent: fnaa.unix.ar}]", "remotes[0].agent", "this agent itself"),
    ("remotes: [{agent: a.b.ar}, {agent: a.b.ar}]", "remotes[1]", "twice among remotes"),
    ("remotes: [{agent: a.b.ar, tls: none}]", "remotes[0].tls", "none for another machine"),
    ("remotes: [{agent: a.b.ar, tls: none, address: 'a.b.ar:1'}]", "remotes[0].tls", "none for another machine"),
    ("remotes: [{agent: a.b.ar, tls: none, address: '127.0.0.1:1', trust: ca.pem}]", "remotes[0].trust", "of no use"),
    ("remotes: [{agent: a.b.ar, trust: 'pin-sha256:abc'}]", "remotes[0].trust", "is no pin"),
    ("remotes: [{agent: a.b.ar, mechanism: SCRAM-SHA-256}]", "remotes[0]", "without a login"),
    ("remotes: [{agent: a.b.ar, username: a}]", "remotes[0]", "no mechanism uses"),
    ("remotes: [{agent: a.b.ar, as: user}]", "remotes[0].as", "without a login"),
    ("allow_private: [10.0.0.1/8]", "allow_private[0]", "is no network"),
    ("processors: {start_rate: 0}", "processors.start_rate", "is no number"),
    ("processors: {per_process: 0}", "processors.per_process", "is no number"),
    ("limits: {line: 100}", "limits.line", "no size"),
    ("limits: {connections: {total: many}}", "limits.connections.total", "is no number"),
    ("log: {level: loud}", "log.level", "not known"),
    ("log: {level: info, level: debug}", "log.level", "is given twice"),
    ("log: {1: 2}", "log.1", "is no key"),
    ("log: {[a]: 2}", "log", "no word"),
    ("state: ~nobody-of-that-name/state", "state", "unknown user"),
    # listeners against each other
    ("fnap: {listen: ['127.0.0.1:61001']}", "fnap.listen_tls", "is taken by fnap.listen"),
    ("names: {listen: ['127.0.0.1:61000']}", "names.listen", "is taken by fnap.listen"),
    ("brokers: [{name: a, listen: ['127.0.0.1:5300']}]", "brokers[0].listen", "is taken by names.listen"),
    ("web: {metrics: ['127.0.0.1:9092']}", "web.metrics", "is taken by brokers.listen"),
    ("names: {listen: ['0.0.0.0:61000']}", "names.listen", "is taken by fnap.listen"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "reason"), WRONG, ids=[f"{key}: {text}" for text, key, _ in WRONG])
def test_each_fault_names_its_key_line_and_remedy(place: Path, text: str, key: str, reason: str) -> None:
    word = text.partition(":")[0]
    kept = [line for line in SMALLEST.splitlines() if not line.startswith(f"{word}:")]
    faults = faults_of(place, "\n".join([*kept, text, ""]))
    assert list(faults) == [key]
    fault = faults[key]
    assert reason in fault.reason
    assert fault.line == len(kept) + 1
    assert fault.remedy


def test_a_listener_that_faces_other_machines_needs_a_certificate(place: Path) -> None:
    faults = faults_of(place, SMALLEST + "fnap: {listen: ['0.0.0.0:61000'], listen_tls: ['[::]:61001']}\n")
    assert set(faults) == {"fnap.listen", "fnap.listen_tls"}
    fnap = "{listen: ['0.0.0.0:61000'], certificate: agent.pem, key: agent.key}"
    assert load(write(place, f"{SMALLEST}fnap: {fnap}\n")).fnap.key == place / "agent.key"


def test_any_free_port_clashes_with_nothing(tmp_path: Path) -> None:
    text = "fnap: {listen: ['127.0.0.1:0', '127.0.0.1:0']}\nnames: {listen: ['127.0.0.1:0', '[::1]:5300']}\n"
    assert len(load(write(tmp_path, SMALLEST + text)).fnap.listen) == 2


def test_a_file_that_holds_a_secret_must_be_private(tmp_path: Path) -> None:
    text = SMALLEST + "identity: {accounts: [{name: a, password: x}]}\n"
    fault = faults_of(tmp_path, text, 0o644)["identity.accounts[0].password"]
    assert "others can read this file" in fault.reason
    assert "chmod" in fault.remedy
    assert load(write(tmp_path, text, 0o640)).identity.accounts


def test_issued_credentials_need_a_login(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x\n")
    (tmp_path / "p").chmod(0o600)
    broker = "{name: a, type: kafka, servers: ['b.ar:1'], security: %s%s}"
    plain = load(write(tmp_path, SMALLEST + f"brokers: [{broker % ('plaintext', '')}]\n"))
    login = load(
        write(tmp_path, SMALLEST + f"brokers: [{broker % ('sasl_ssl', ', username: a, password_file: p')}]\n")
    )
    assert [config.brokers[0].issues_credentials for config in (plain, login)] == [False, True]  # type: ignore[union-attr]


def test_a_server_that_cannot_be_read_is_said_once(tmp_path: Path) -> None:
    """Not also that there is none."""
    text = f"{SMALLEST}brokers: [{{name: main, type: kafka, servers: ['kf1:9092']}}]\n"
    assert list(faults_of(tmp_path, text)) == ["brokers[0].servers[0]"]


def test_of_a_broker_that_cannot_be_read_nothing_else_is_said(tmp_path: Path) -> None:
    text = (
        SMALLEST.replace("}]", ", broker: rabbit}]") + "brokers: [{name: rabbit, type: amqp, exchange: x}]\n"
    )
    assert list(faults_of(tmp_path, text)) == ["brokers[0].type"]


@pytest.mark.parametrize(
    ("octets", "line", "reason"),
    [
        (b"", 0, "is empty"),
        (b"# nothing\n", 0, "is empty"),
        (b"a: b\nc: \xff\n", 2, "is not UTF-8"),
        (b"a: b\nc: [\n", 3, "is no YAML"),
        (b"a: b\nb: \x07\n", 0, "is no YAML"),
        (b"a: 1\n---\nb: 2\n", 2, "is no YAML"),
        (b"[" * 5000, 0, "is no YAML"),
        (b"- a\n- b\n", 0, "is no mapping"),
        (b"just words\n", 0, "is no mapping"),
        (b"a" * (1 << 20) + b"b", 0, "longer than 1 MiB"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, octets: bytes, line: int, reason: str) -> None:
    path = tmp_path / "eson.yaml"
    path.write_bytes(octets)
    with pytest.raises(ConfigError) as caught:
        load(path)
    found = next(fault for fault in caught.value.faults if fault.key == "the file")
    assert reason in found.reason
    assert found.line == line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.*eson init"):
        load(tmp_path / "eson.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


KEYS = st.sampled_from(
    [*EVERYTHING.replace("{", " ").replace(":", " ").replace(",", " ").split(), "<<", "", "\x85", "~", "a.b"]
)
SCALARS = st.one_of(
    KEYS,
    st.text(max_size=12),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.sampled_from(["127.0.0.1:0", "0.0.0.0:5", "[::]:0", "7d", "1GiB", "user:test", "pin-sha256:x", "\0"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=20,
)
SECTIONS = st.sampled_from(
    [
        "participant",
        "agent",
        "state",
        "address",
        "fnap",
        "identity",
        "names",
        "brokers",
        "namespaces",
        "copies",
        "remotes",
        "allow_private",
        "processors",
        "limits",
        "web",
        "log",
    ]
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(SECTIONS, TREES, max_size=6))
def test_no_tree_raises_anything_but_faults(tmp_path: Path, tree: dict[str, object]) -> None:
    import yaml

    path = write(tmp_path, yaml.safe_dump(tree, allow_unicode=True))
    try:
        load(path)
    except ConfigError as error:
        assert error.faults


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_mutation_of_a_file_raises_anything_but_faults(place: Path, data: st.DataObject) -> None:
    octets = bytearray(EVERYTHING.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=6))
    path = place / "eson.yaml"
    path.write_bytes(octets)
    try:
        load(path)
    except ConfigError as error:
        assert error.faults


def test_a_relative_path_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "there"
    directory.mkdir()
    write(directory, SMALLEST + "state: state\n")
    assert load(Path("there") / "eson.yaml").state == directory / "state"
    assert os.getcwd() == str(tmp_path)
