"""One authority: a TUF repository as a plain folder, honest and otherwise."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    T,
    TargetFile,
    Targets,
    Timestamp,
)

from primum_device_sim.authorities.documents import moment
from primum_device_sim.authorities.origin import THIS_MACHINE, Origin


class Authority:
    """One TUF repository as a plain folder; each publish signs new versions of everything.

    Args:
        web: the folder; made here.
        delegated: the paths of each delegated role, by its name.
        origin: where its times, ids and keys come from.
    """

    def __init__(
        self, web: Path, delegated: dict[str, list[str]], *, origin: Origin = THIS_MACHINE
    ) -> None:
        self.web = web
        self.origin = origin
        self.delegated = delegated
        names = ("root", "targets", "online", *delegated)
        self.signers = {name: self.origin.new_key(f"{web.name} {name}") for name in names}
        self.files: dict[str, dict[str, bytes]] = {name: {} for name in ("targets", *delegated)}
        self.version = 0
        for name in ("metadata", "targets", "artifacts"):
            (web / name).mkdir(parents=True)
        root = Root(expires=self.origin.now() + timedelta(days=300), consistent_snapshot=True)
        for role in ("root", "targets"):
            root.add_key(self.signers[role].public_key, role)
        for role in ("snapshot", "timestamp"):
            root.add_key(self.signers["online"].public_key, role)
        self.root = self._sign(root, "root")
        (web / "metadata" / "1.root.json").write_bytes(self.root)

    def _sign(self, signed: T, by: str) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(self.signers[by])
        return metadata.to_bytes()

    def put(self, role: str, name: str, data: bytes) -> None:
        """Let a role sign this file at the next publication."""
        self.files[role][name] = data

    def publish(self, *, life: timedelta = timedelta(days=30)) -> None:
        """Sign and lay out a new version of everything; the timestamp ends after ``life``."""
        self.version += 1
        expires = self.origin.now() + timedelta(days=60)
        metadata = self.web / "metadata"
        meta = {}
        for role, files in self.files.items():
            signed = Targets(version=self.version, expires=expires)
            for name, data in files.items():
                info = TargetFile.from_data(name, data, ["sha256"])
                signed.targets[name] = info
                folder, _, base = name.rpartition("/")
                path = self.web / "targets" / folder / f"{info.hashes['sha256']}.{base}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            if role == "targets":
                signed.delegations = Delegations({}, {})
                signed.delegations.roles = {
                    name: DelegatedRole(name, [], 1, terminating=False, paths=paths)
                    for name, paths in self.delegated.items()
                }
                for name in self.delegated:
                    signed.add_key(self.signers[name].public_key, name)
            data = self._sign(signed, role)
            (metadata / f"{self.version}.{role}.json").write_bytes(data)
            meta[f"{role}.json"] = MetaFile(self.version)
        snapshot = Snapshot(version=self.version, expires=expires)
        snapshot.meta = meta
        (metadata / f"{self.version}.snapshot.json").write_bytes(self._sign(snapshot, "online"))
        timestamp = Timestamp(version=self.version, expires=self.origin.now() + life)
        timestamp.snapshot_meta = MetaFile(self.version)
        timestamp.unrecognized_fields["issuedAt"] = moment(self.origin.now())
        (metadata / "timestamp.json").write_bytes(self._sign(timestamp, "online"))

    another_life = timedelta(days=29)
    """For a second content of one version."""

    def sign_snapshot_twice(self) -> None:
        """A newer timestamp announces another content of the snapshot that was served."""
        metadata = self.web / "metadata"
        path = metadata / f"{self.version}.snapshot.json"
        snapshot = Metadata[Snapshot].from_file(str(path)).signed
        snapshot.expires += timedelta(days=1)
        data = self._sign(snapshot, "online")
        path.write_bytes(data)
        timestamp = Timestamp(
            version=self.version + 1, expires=self.origin.now() + timedelta(days=30)
        )
        timestamp.snapshot_meta = MetaFile.from_data(self.version, data, ["sha256"])
        timestamp.unrecognized_fields["issuedAt"] = moment(self.origin.now())
        (metadata / "timestamp.json").write_bytes(self._sign(timestamp, "online"))

    def sign_targets_twice(self) -> None:
        """A newer snapshot announces another content of the targets that were trusted."""
        metadata = self.web / "metadata"
        path = metadata / f"{self.version}.targets.json"
        targets = Metadata[Targets].from_file(str(path)).signed
        targets.expires += timedelta(days=1)
        data = self._sign(targets, "targets")
        path.write_bytes(data)
        old = metadata / f"{self.version}.snapshot.json"
        snapshot = Metadata[Snapshot].from_file(str(old)).signed
        snapshot.version += 1
        snapshot.meta["targets.json"] = MetaFile.from_data(self.version, data, ["sha256"])
        new = metadata / f"{snapshot.version}.snapshot.json"
        new.write_bytes(self._sign(snapshot, "online"))
        timestamp = Timestamp(
            version=self.version + 1, expires=self.origin.now() + timedelta(days=30)
        )
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        timestamp.unrecognized_fields["issuedAt"] = moment(self.origin.now())
        (metadata / "timestamp.json").write_bytes(self._sign(timestamp, "online"))
