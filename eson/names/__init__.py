"""The name service (FNS): records of flows, authoritative answers, server, resolver, discovery."""
