"""The name service's sockets: the embedded server and the resolver."""
