"""How the device uses the network: the table ``[network]`` of ``agent.toml``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from primum_verifier.shell.broker_proxy import ProxyKind, parse_proxy

MOST_MIRRORS = 8
"""Mirrors of one authority; more would only make a poll of a dead network longer."""

_WHERE = "agent.toml: network.proxy"
_DAY = 86_400.0
_GIBI = float(1024**3)


@dataclass(frozen=True)
class NetworkSettings:
    """What may be used of the network, and how the device shows who it is.

    Attributes:
        proxy: ``http://HOST:PORT``, the way to every server but those in ``direct``; empty for
            straight. No variable of the environment is ever one.
        direct: hosts that are reached without the proxy, such as a gateway in the house.
        ca_file: certificates of whom to believe about the servers, PEM, in the provisioning
            folder; without one, those that the system believes.
        client_certificate: whether the servers are shown the device's client certificate.
        most_bytes_per_second: of what is fetched for a release; 0 for as fast as it comes.
        least_bytes_per_second: a server that sends less over a minute is left for another one.
        total_seconds: the longest that one attempt may fetch; the next one goes on.
    """

    proxy: str = ""
    direct: tuple[str, ...] = ()
    ca_file: str = ""
    client_certificate: bool = False
    most_bytes_per_second: float = 0.0
    least_bytes_per_second: float = 100.0
    total_seconds: float = 3600.0


def network_faults(network: NetworkSettings) -> Iterator[tuple[str, str, str]]:
    """What of the settings cannot be: the member, what was found, and what was expected.

    Raises:
        UsageError: the proxy is no address of one.
    """
    if network.proxy and parse_proxy(network.proxy, where=_WHERE).kind is not ProxyKind.HTTP:
        yield "proxy", network.proxy[:80], "http://HOST:PORT"
    if network.ca_file and Path(network.ca_file).name != network.ca_file:
        yield "ca_file", repr(network.ca_file[:80]), "a file in the same folder"
    most, least = network.most_bytes_per_second, network.least_bytes_per_second
    for where, value, lowest, highest in (
        ("least_bytes_per_second", least, 1.0, _GIBI),
        ("total_seconds", network.total_seconds, 1.0, _DAY),
    ):
        if not lowest <= value <= highest:
            yield where, f"{value:g}", f"{lowest:g} to {highest:g}"
    if most and not 2.0 * least <= most <= _GIBI:
        expected = f"0, or {2.0 * least:g} to {_GIBI:g}: twice what a server has to send at least"
        yield "most_bytes_per_second", f"{most:g}", expected
