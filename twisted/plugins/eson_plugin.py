"""Makes `twistd` list `eson`."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(
    "ESON",
    "eson.tap",
    "The accessing agent (FNAA) of a participant of the Event Streaming Open Network",
    "eson",
)
