"""The address of an MQTT broker: ``mqtts://HOST[:PORT]``, or ``mqtt://`` on this machine alone.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.addresses import parts_of

_PORTS = {"mqtts": 8883, "mqtt": 1883}
_MAX_TEXT = 300
_EXPECTED = "mqtts://HOST[:PORT], or mqtt://127.0.0.1:PORT for a broker on this machine"


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker listens.

    Attributes:
        host: its name or number.
        port: its TCP port.
        tls: whether TLS is spoken; without it only this machine itself is spoken to.
    """

    host: str
    port: int
    tls: bool

    @property
    def uri(self) -> str:
        """The whole address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(text: str, *, where: str) -> BrokerAddress:
    """Take an address apart.

    Args:
        text: what was given.
        where: the option or member, for whoever reads the error.

    Raises:
        UsageError: it is no such address, or it speaks in the clear to another machine.
    """
    parts = parts_of(text)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    clean = host.replace(".", "").replace("-", "").replace(":", "").isalnum() and host.isascii()
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _PORTS or not clean or rest or port == 0 or len(text) > _MAX_TEXT:
        raise UsageError(
            "This is no address of a broker.",
            reason=Reason.USAGE,
            where=where,
            found=text[:200],
            expected=_EXPECTED,
            remedy="Give scheme, host and port of the broker, and nothing more.",
        )
    address = BrokerAddress(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts")
    if not address.tls and not _is_here(host):
        raise UsageError(
            "Reports are not sent over the network in the clear.",
            reason=Reason.USAGE,
            where=where,
            found=text[:200],
            expected=_EXPECTED,
            remedy="Let the broker speak TLS, and write mqtts:// before its name.",
        )
    return address


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
