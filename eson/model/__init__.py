"""Frozen values of the domain: names, flows, subscriptions, principals, positions, events.  No I/O."""
