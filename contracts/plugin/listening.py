"""Whether somebody listens at a place; gRPC is not needed to ask that."""

from __future__ import annotations

import socket

from contracts.plugin.profiles import Place, Port

_PATIENCE_S = 1.0


def answers(place: Place) -> bool:
    """A connection is taken and closed again at once."""
    family = socket.AF_INET if isinstance(place, Port) else socket.AF_UNIX
    address = (place.host, place.port) if isinstance(place, Port) else place.path
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE_S)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True
