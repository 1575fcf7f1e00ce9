"""FNAP, the Flow Namespace Accessing Protocol (draft section 5.2)."""
