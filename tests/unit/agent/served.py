"""A device whose repositories are served over http, by servers that a test can spoil."""

from __future__ import annotations

import dataclasses
import re
import shutil
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.agent.field import Field
from tests.unit.agent.hostile_server import HostileServer, Mood


@dataclass
class Served:
    """The field over http.

    Attributes:
        field: the two authorities and the device.
        attempt_now: one attempt in this process.
        servers: the mirrors in their order, the repository's own server last.
    """

    field: Field
    attempt_now: Callable[..., int]
    servers: list[HostileServer] = dataclasses.field(default_factory=list)

    @property
    def own(self) -> HostileServer:
        """The repository's own server."""
        return self.servers[-1]

    def serve(
        self, *, mirrors: int = 0, more: str = "", context: ssl.SSLContext | None = None
    ) -> None:
        """Serve both authorities, and point the device there.

        Args:
            mirrors: how many mirrors stand before the repository's own server.
            more: further lines of the settings.
            context: the terms of TLS of all of them; None for plain http.
        """
        folders = [*(self._copy(number) for number in range(mirrors)), self.field.folder]
        self.servers = [HostileServer(folder, context=context) for folder in folders]
        text = self.field.settings()
        for name in ("engineering", "clinical"):
            web = getattr(self.field, name).web
            path = web.relative_to(self.field.folder).as_posix()
            text = text.replace(f"{web.as_uri()}/", f"{self.own.url}{path}/")
            roots = ", ".join(f'"{item.url}{path}/"' for item in self.servers[:-1])
            anchor = f"[repositories.{name}]\n"
            text = text.replace(anchor, f"{anchor}mirrors = [{roots}]\n")
        text += "" if context else "[transport]\nallow_http = true\n"
        text += more
        self.field.write("agent.toml", text.encode())

    def _copy(self, number: int) -> Path:
        """A mirror's own copy of what is published now."""
        folder = self.field.folder / f"mirror-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("engineering", "clinical"):
            web = getattr(self.field, name).web
            shutil.copytree(web, folder / web.relative_to(self.field.folder))
        return folder

    def publish_to_mirrors(self) -> None:
        """The mirrors take over what is published now."""
        for number in range(len(self.servers) - 1):
            self._copy(number)

    def close(self) -> None:
        """Nobody serves any more."""
        for server in self.servers:
            server.close()

    @property
    def sent(self) -> int:
        """Body bytes of artifacts that all servers handed to the network."""
        return sum(server.sent for server in self.servers)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Every event of a kind, oldest first."""
        named = f"primum.device.{kind}"
        return [item for item in self.field.events() if item["type"] == named]

    def left(self) -> list[str]:
        """What is on its way."""
        return sorted(path.name for path in self.field.layout.partial.iterdir())

    def artifacts(self, server: HostileServer | None = None) -> list[str]:
        """The artifacts that a server was asked for, in order, by digest."""
        asked = (server or self.own).of_files()
        return [re.sub(".*/", "", item.path) for item in asked]


def files_only(mood: Mood) -> Callable[[str], Mood | None]:
    """A mood for artifacts alone; metadata is served well."""
    return lambda path: mood if "/artifacts/" in path else None


def timestamps_only(mood: Mood) -> Callable[[str], Mood | None]:
    """A mood for the timestamps alone."""
    return lambda path: mood if path.endswith("timestamp.json") else None
