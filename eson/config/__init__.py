"""`eson.yaml` as a frozen value, all faults at once."""

from eson.config.loading import chosen, load
from eson.config.places import Places
from eson.config.values import Config

__all__ = ["Config", "Places", "chosen", "load"]
