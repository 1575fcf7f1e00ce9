"""Storage of the embedded broker: segments of opaque batches, producers' state, journals of metadata."""
