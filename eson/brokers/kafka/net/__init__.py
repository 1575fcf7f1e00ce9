"""Kafka over Twisted: a connection, a login, a cluster."""
