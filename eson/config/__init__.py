"""`eson.yaml` as a frozen value, all faults at once."""

from eson.config.loading import load
from eson.config.values import Config

__all__ = ["Config", "load"]
