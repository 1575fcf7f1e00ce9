"""A flow-aware library for Twisted programs: resolve, connect, read, write, subscribe."""
