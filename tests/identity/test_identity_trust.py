"""The word that says whom a broker's client must trust."""

from __future__ import annotations

import pytest

from eson.identity.certificates import make_ca
from eson.identity.trust import trust_pem, trust_word


def test_a_ca_comes_back_as_it_was() -> None:
    """The word has no spaces and needs no quotation marks in FNAP."""
    pem = make_ca().certificate
    word = trust_word(pem)
    assert word.isascii()
    assert not set(word) & set(' "\\\r\n')
    assert trust_pem(word).strip() == pem.strip()


def test_the_system_has_no_pem() -> None:
    assert trust_word("") == "system"
    assert trust_pem("system") == trust_pem("") == ""


@pytest.mark.parametrize(
    "word", ["none", "AAAA", "***", "system ", "é", trust_word(make_ca().certificate)[:-8]]
)
def test_what_is_no_certificate_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        trust_pem(word)
