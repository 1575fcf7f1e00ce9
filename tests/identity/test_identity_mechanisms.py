"""SASL mechanisms: both sides joined, test vectors, lies and junk."""

from __future__ import annotations

import base64
import hashlib
import hmac
import stringprep
import unicodedata

import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.identity.mechanisms import AskPassword, AskVerifier, Challenge, Failed, MechanismError, Succeeded
from eson.identity.mechanisms.anonymous import AnonymousClient, AnonymousServer
from eson.identity.mechanisms.plain import PlainClient, PlainServer
from eson.identity.mechanisms.scram import ScramClient, ScramServer
from eson.identity.saslprep import saslprep
from eson.identity.verifier import (
    Verifier,
    check_password,
    make_verifier,
    parse_verifier,
    salted_password,
    seal,
    unseal,
)

SECRET = b"s" * 32
VERIFIER = make_verifier("pencil", 4096, b"0123456789abcdef")


def login(server: ScramServer, client: ScramClient, known: Verifier | None = VERIFIER) -> Succeeded | Failed:
    """Runs one SCRAM login to its end."""
    step = server.respond(client.initial())
    while True:
        if isinstance(step, AskVerifier):
            step = server.verifier(known)
        elif isinstance(step, Challenge):
            step = server.respond(client.answer(step.data))
        else:
            assert isinstance(step, Succeeded | Failed)
            if isinstance(step, Succeeded):
                assert client.answer(step.final or b"") == b""
                assert client.finished()
            return step


def test_the_vector_of_rfc_7677() -> None:
    """The exchange of RFC 7677 section 3, octet by octet, on both sides."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    client = ScramClient("user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    server = ScramServer(SECRET, nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert client.initial() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert server.respond(client.initial()) == AskVerifier("user")
    first = server.verifier(make_verifier("pencil", 4096, salt))
    assert first == Challenge(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    proof = client.answer(first.data)
    assert proof.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    done = server.respond(proof)
    assert done == Succeeded("user", "", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert not client.finished()
    client.answer(done.final)
    assert client.finished()


def test_scram_agrees_with_an_independent_library() -> None:
    """scramp logs in to our server, and our client to scramp's."""
    peer = scramp.ScramClient(["SCRAM-SHA-256"], "user", "pencil")
    server = ScramServer(SECRET)
    assert server.respond(peer.get_client_first().encode()) == AskVerifier("user")
    step = server.verifier(VERIFIER)
    peer.set_server_first(step.data.decode())
    done = server.respond(peer.get_client_final().encode())
    assert isinstance(done, Succeeded)
    peer.set_server_final(done.final.decode())

    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    info = mechanism.make_auth_info("pencil", iteration_count=4096)
    them = mechanism.make_server(lambda _: info)
    client = ScramClient("user", "pencil")
    them.set_client_first(client.initial().decode())
    them.set_client_final(client.answer(them.get_server_first().encode()).decode())
    client.answer(them.get_server_final().encode())
    assert client.finished()


@pytest.mark.parametrize("authorisation", ["", "juan@emiliano.ar", "a,b=c"])
def test_the_authorisation_identity_arrives(authorisation: str) -> None:
    """Who the client wants to act as survives escaping."""
    assert (
        login(ScramServer(SECRET), ScramClient("u,=x", "pencil", authorisation)).authorisation
        == authorisation
    )


def test_wrong_password_and_unknown_user_look_alike() -> None:
    """The same salt each time, the same count, the same failure."""
    assert isinstance(login(ScramServer(SECRET), ScramClient("user", "wrong")), Failed)
    assert isinstance(login(ScramServer(SECRET), ScramClient("nobody", "pencil"), None), Failed)
    answers = set()
    for _ in range(2):
        server = ScramServer(SECRET, nonce="x")
        server.respond(ScramClient("nobody", "p", nonce="abc").initial())
        answers.add(server.verifier(None).data)
    assert len(answers) == 1
    assert b"i=210000" in answers.pop()


def test_the_server_checks_nonce_and_header() -> None:
    """A nonce that is not ours, another GS2 header, `p=` and a downgrade are refused (CVE-2024-56128)."""
    for break_it in (
        lambda m: m.replace(b"r=", b"r=x", 1),
        lambda m: m.replace(b"c=biws", b"c=eSws"),
        lambda m: m[: m.rindex(b",p=")],
        lambda m: m[:-4] + b"AAA=",
    ):
        server, client = ScramServer(SECRET), ScramClient("user", "pencil")
        server.respond(client.initial())
        proof = client.answer(server.verifier(VERIFIER).data)
        assert isinstance(server.respond(break_it(proof)), Failed)
    assert isinstance(ScramServer(SECRET).respond(b"p=tls-exporter,,n=u,r=abc"), Failed)
    assert isinstance(ScramServer(SECRET, plus_offered=True).respond(b"y,,n=u,r=abc"), Failed)
    assert isinstance(ScramServer(SECRET).respond(b"y,,n=u,r=abc"), AskVerifier)


def _final(first: bytes, challenge: bytes, nonce: str) -> bytes:
    """A client's last message with any nonce, and the proof that belongs to it (RFC 5802 section 3)."""
    key = hmac.digest(salted_password("pencil", VERIFIER.salt, VERIFIER.iterations), b"Client Key", "sha256")
    bare = f"c=biws,r={nonce}".encode()
    signed = b",".join((first.removeprefix(b"n,,"), challenge, bare))
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    return bare + b",p=" + base64.b64encode(proof)


@pytest.mark.parametrize(
    ("nonce", "strict", "lenient"),
    [
        ("client+server", Succeeded, Succeeded),
        ("clientclient+server", Failed, Succeeded),
        ("clientclientclient+server", Failed, Failed),
        ("server", Failed, Failed),
        ("+server", Failed, Failed),
        ("otherclient+server", Failed, Failed),
        ("clientclient+another", Failed, Failed),
    ],
)
def test_what_old_clients_send_twice_is_taken_where_it_may_be(
    nonce: str, strict: type, lenient: type
) -> None:
    """librdkafka before 2.6.1; whoever knows the password alone is not enough: the server's nonce must be this one."""
    for doubled, wanted in ((False, strict), (True, lenient)):
        server = ScramServer(SECRET, nonce="+server", doubled_nonce=doubled)
        first = b"n,,n=user,r=client"
        server.respond(first)
        challenge = server.verifier(VERIFIER).data
        assert type(server.respond(_final(first, challenge, nonce))) is wanted


@pytest.mark.parametrize(
    "lie",
    [
        b"r=other,s=AAAA,i=4096",
        b"r=abc,s=AAAA,i=4096",
        b"r=abcdef,s=,i=4096",
        b"r=abcdef,s=AAAA,i=1",
        b"r=abcdef,s=AAAA,i=2147483648",
        b"r=abcdef,s=AAAA,i=-5",
        b"r=abcdef,s=!,i=4096",
        b"e=other-error",
        b"\xff",
        b"",
    ],
)
def test_the_client_refuses_a_lying_server(lie: bytes) -> None:
    """Wrong nonces, no salt, too few or absurdly many iterations (CVE-2026-10143)."""
    with pytest.raises(MechanismError):
        ScramClient("user", "pencil", nonce="abc").answer(lie)


def test_the_client_wants_the_servers_proof() -> None:
    """Success without the right server signature is no success."""
    server, client = ScramServer(SECRET), ScramClient("user", "pencil")
    server.respond(client.initial())
    server.respond(client.answer(server.verifier(VERIFIER).data))
    assert not client.finished()
    with pytest.raises(MechanismError):
        client.answer(b"v=" + base64.b64encode(b"x" * 32))
    assert not client.finished()


def test_plain_asks_for_the_password_check() -> None:
    """The three parts are taken apart; the decision is the shell's."""
    server = PlainServer()
    assert server.respond(None) == Challenge(b"")
    step = server.respond(base64.b64decode("AHRlc3QAdGVzdA=="))
    assert step == AskPassword("test", "test")
    assert "password" not in repr(step)
    assert server.checked(True) == Succeeded("test")
    assert isinstance(server.checked(False), Failed)
    assert PlainServer().respond(PlainClient("u", "p", "z").initial()) == AskPassword("u", "p")


@pytest.mark.parametrize(
    "junk", [b"", b"\0", b"\0\0", b"a\0b", b"\0u\0p\0", b"\0\xff\0p", b"\0u\0" + b"p" * 256]
)
def test_plain_refuses_what_is_not_plain(junk: bytes) -> None:
    """Missing parts, empty ones, too long ones and what is no UTF-8."""
    assert isinstance(PlainServer().respond(junk), Failed)


def test_anonymous_takes_a_bounded_trace() -> None:
    """A trace is at most 255 characters of UTF-8."""
    assert AnonymousServer().respond(AnonymousClient("me").initial()) == Succeeded("")
    assert AnonymousServer().respond(None) == Challenge(b"")
    assert isinstance(AnonymousServer().respond(b"x" * 256), Failed)
    assert isinstance(AnonymousServer().respond(b"\xff"), Failed)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_octets_upset_a_server(first: bytes, second: bytes) -> None:
    """Any two messages end in a step, never in an exception."""
    for server in (PlainServer(), AnonymousServer(), ScramServer(SECRET)):
        step = server.respond(first)
        if isinstance(step, AskVerifier):
            server.verifier(VERIFIER)
            assert isinstance(server.respond(second), Failed)


def test_a_verifier_is_kept_as_text_and_knows_its_password() -> None:
    """Text and back; the right password only; prohibited ones are just wrong."""
    assert parse_verifier(str(VERIFIER)) == VERIFIER
    assert check_password(VERIFIER, "pencil")
    assert not check_password(VERIFIER, "Pencil")
    assert not check_password(VERIFIER, "\x00")
    assert "stored" not in repr(VERIFIER)
    assert make_verifier("p", 4096).salt != make_verifier("p", 4096).salt
    for bad in (
        "",
        "x",
        "SCRAM-SHA-1$4096:AA==$AA==:AA==",
        str(VERIFIER).replace("4096", "1"),
        str(VERIFIER)[:-8],
    ):
        with pytest.raises(ValueError, match="is no verifier"):
            parse_verifier(bad)


def test_saslprep_makes_equal_passwords_equal() -> None:
    """The examples of RFC 4013 section 3."""
    assert check_password(make_verifier("I\u00adX", 4096), "IX")
    assert check_password(make_verifier("\u2168", 4096), "IX")
    with pytest.raises(ValueError, match="prohibits"):
        make_verifier("\u0007", 4096)
    with pytest.raises(ValueError, match="direction"):
        make_verifier("\u06271", 4096)


def test_a_user_name_of_scram_is_as_long_as_one_of_plain_at_most() -> None:
    """A stranger's name is prepared on the reactor: a long one is refused before that."""
    for name, refused in (
        ("u" * 255, False),
        ("u" * 256, True),
        ("\ufdfa" * 85, False),
        ("\ufdfa" * 86, True),
    ):
        step = ScramServer(b"secret").respond(f"n,,n={name},r=nonce".encode())
        assert isinstance(step, Failed if refused else AskVerifier)


@given(st.text(max_size=40))
def test_saslprep_asks_each_table_once_and_decides_the_same(text: str) -> None:
    """Against RFC 4013 read character by character."""
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.normalize("NFKC", mapped)
    prohibited = any(
        stringprep.in_table_c12(c)
        or stringprep.in_table_c21_c22(c)
        or stringprep.in_table_c3(c)
        or stringprep.in_table_c4(c)
        or stringprep.in_table_c5(c)
        or stringprep.in_table_c6(c)
        or stringprep.in_table_c7(c)
        or stringprep.in_table_c8(c)
        or stringprep.in_table_c9(c)
        for c in prepared
    )
    right_to_left = [stringprep.in_table_d1(c) for c in prepared]
    mixed = any(right_to_left) and (
        any(stringprep.in_table_d2(c) for c in prepared) or not (right_to_left[0] and right_to_left[-1])
    )
    if prohibited or mixed:
        with pytest.raises(ValueError):
            saslprep(text)
    else:
        assert saslprep(text) == prepared


def test_what_is_sealed_opens_with_the_same_key_and_label_only() -> None:
    """Secrets at rest are encrypted and bound to their place."""
    key = b"k" * 32
    sealed = seal(b"secret", key, "a")
    assert unseal(sealed, key, "a") == b"secret"
    assert b"secret" not in sealed
    for broken in ((sealed, key, "b"), (sealed, b"x" * 32, "a"), (sealed[:-1], key, "a"), (b"", key, "a")):
        with pytest.raises(ValueError, match="decrypted"):
            unseal(*broken)
