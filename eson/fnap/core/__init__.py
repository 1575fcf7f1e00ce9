"""The protocol as pure code: grammar, commands, replies, state tables, sessions.  No Twisted, no sockets, no threads."""
