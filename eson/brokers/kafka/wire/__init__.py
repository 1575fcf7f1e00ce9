"""Kafka's wire protocol without I/O: frames, messages, record batches.  Nothing else touches `kafka.protocol`."""
