"""The protocol on sockets: shells around the pure sessions."""
