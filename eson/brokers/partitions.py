"""Which partition a record goes to: what Kafka's own producers do, so that a key stays where it was."""

from __future__ import annotations

_SEED, _MIX, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2 with Kafka's seed, unsigned 32 bits (Kafka: `org.apache.kafka.common.utils.Utils.murmur2`)."""
    length = len(data)
    digest = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _MIX & _MASK
        word = (word ^ (word >> 24)) * _MIX & _MASK
        digest = (digest * _MIX & _MASK) ^ word
    if whole < length:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _MIX & _MASK
    digest = (digest ^ (digest >> 13)) * _MIX & _MASK
    return digest ^ (digest >> 15)


def partition_of_key(key: bytes, partitions: int) -> int:
    """Kafka's default for records with a key: 0 to `partitions` - 1."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
