"""`eson.yaml` as a frozen value, all faults at once."""
