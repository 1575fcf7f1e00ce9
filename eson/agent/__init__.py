"""The accessing agent (FNAA): use cases, reconciliation, audit.  No wire format, no reactor, no protocol."""
