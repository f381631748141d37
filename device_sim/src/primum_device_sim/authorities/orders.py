"""What changes about a release once it is out: notices, the list, a lost root, a site's word."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner

from primum_device_sim.authorities.authority import Authority
from primum_device_sim.authorities.documents import envelope, moment
from primum_device_sim.authorities.offices import Offices
from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import (
    INTOTO_PAYLOAD_TYPE,
)


class Orders(Offices):
    """Both authorities, and what they and a site say later."""

    def withdraw(self, version: str, *, action: str = "fall-back") -> None:
        """A notice signed by two functions, and the index."""
        self.notify(version, action=action)
        for entry in self.entries:
            if entry["version"] == version:
                entry["status"] = "withdrawn"
        self._index()
        self.publish()

    def notify(
        self, version: str, *people: str, kind: str = "withdrawal", **members: object
    ) -> None:
        """One more safety notice about a release, signed by two functions where none is named."""
        content: dict[str, Any] = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "manifest.json", "digest": {"sha256": self.releases[version]}}],
            "predicateType": "urn:primum:safety-notice:v0.1",
            "predicate": {
                "schemaVersion": "0.1",
                "id": self.origin.urn(),
                "issuedAt": moment(self.origin.now()),
                "kind": kind,
                "reason": {"code": "missed-beats", "text": "misses", "hazardRef": "HZ-2"},
                "scope": {"mode": "all", "jurisdictions": []},
                "effectiveAt": moment(self.origin.now()),
                "gracePeriodSeconds": 0,
                "fallback": {"order": []},
                "userNotice": f"{version} was withdrawn.",
                **members,
            },
        }
        self.notice_ids.append(content["predicate"]["id"])
        signers = [self.people[name] for name in people or ("clinical", "quality")]
        self.notices.append(envelope(canonical_json(content), INTOTO_PAYLOAD_TYPE, *signers))
        self._put_notices()

    def forget_notices(self) -> None:
        """Take every notice off the list."""
        self.notices.clear()
        self._put_notices()

    def answered(self, version: str) -> None:
        """A new statement of a release, with every approval, that answers all its notices."""
        entry = next(item for item in self.entries if item["version"] == version)
        self.entries.remove(entry)
        said = self.said
        self.said = {**said, "answers": list(self.notice_ids)}
        self.approve(version, tuple(self.people))
        self.said = said
        self.publish()

    def restated(self, version: str, *people: str, **said: object) -> dict[str, Any]:
        """Another statement of a release takes the place of the one listed; the entry before."""
        entry = self.unlisted(version)
        before, self.said = self.said, {**self.said, **said}
        self.approve(version, people or tuple(self.people))
        self.said = before
        self.publish()
        return entry

    def unlisted(self, version: str) -> dict[str, Any]:
        """The list loses the entry of a release; the entry that was lost."""
        entry = next(item for item in self.entries if item["version"] == version)
        self.entries.remove(entry)
        self._index()
        self.publish()
        return entry

    def listed(self, entry: dict[str, Any]) -> None:
        """The list names this again, and nothing else of that release."""
        self.entries = [item for item in self.entries if item["version"] != entry["version"]]
        self.entries.append(entry)
        self._index()
        self.publish()

    def _put_notices(self) -> None:
        self.clinical.put("safety", "safety/notices.jsonl", b"".join(self.notices))
        self.publish()

    @staticmethod
    def envelope(payload: bytes, payload_type: str, *signers: CryptoSigner) -> bytes:
        """A DSSE envelope."""
        return envelope(payload, payload_type, *signers)

    def replace_clinical(self) -> None:
        """Clinical lost its root: a repository with other keys stands at the same address."""
        old = self.clinical
        shutil.rmtree(old.web)
        self.clinical = Authority(old.web, old.delegated, origin=self.origin)
        self.clinical.files = old.files
        self.clinical.publish()

    def add_site(self) -> None:
        """A responsible organisation with a repository of its own; it has accepted nothing yet."""
        self.site = Authority(self.folder / "site", {}, origin=self.origin)
        self.accept()

    def accept(self, *versions: str) -> None:
        """The organisation lets the statements of these releases in, and no others."""
        if self.site is None:
            raise ValueError("add_site() first")
        content = {
            "type": "urn:primum:site-acceptance:v0.1",
            "schemaVersion": "0.1",
            "id": self.origin.urn(),
            "number": next(self.numbers),
            "issuedAt": moment(self.origin.now()),
            "organisation": "a hospital",
            "sites": ["ward-7"],
            "accepted": [
                {
                    "statement": entry["statement"],
                    "acceptedFrom": moment(self.origin.now() - timedelta(hours=1)),
                    "person": "somebody",
                }
                for entry in self.entries
                if entry["version"] in versions
            ],
        }
        self.site.put("targets", "site/acceptance.json", canonical_json(content))
        self.site.publish()
