"""What a device is given before it goes out: its signed context and its trust map."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner

from primum_device_sim.authorities.documents import COMPONENT, DEVICE, envelope, moment
from primum_device_sim.authorities.orders import Orders
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE

PLACEMENT: Mapping[str, str] = {"jurisdiction": "DE", "siteId": "ward-7", "careSetting": "home"}
"""Where a device is where nothing else is said."""


class Provisioning(Orders):
    """Both authorities, and the stations that provision devices for them."""

    def context(
        self,
        enrolment: Mapping[str, Any],
        *signers: CryptoSigner,
        number: int = 1,
        placement: Mapping[str, str] = PLACEMENT,
        **factory: object,
    ) -> bytes:
        """A device context for the key of an enrolment, signed by the provisioning stations.

        Args:
            enrolment: ``serialNumber`` and ``publicKey`` as a device's enrolment says them.
            signers: who signs in place of the stations.
            number: which context of this device it is.
            placement: where the device is.
            factory: factory facts that differ from the usual ones.
        """
        context = {
            "type": "urn:primum:device-context:v0.1",
            "schemaVersion": "0.1",
            "id": self.origin.urn(),
            "number": number,
            "issuedAt": moment(self.origin.now()),
            "notAfter": moment(self.origin.now() + timedelta(days=300)),
            "factory": {
                "deviceId": DEVICE,
                "serialNumber": enrolment["serialNumber"],
                "hardwareId": "cardiowear-2",
                "hardwareRevision": "B",
                "udiDi": "01234",
                "publicKey": enrolment["publicKey"],
                **factory,
            },
            "placement": dict(placement),
        }
        data = canonical_json(context)
        return envelope(data, CONTEXT_PAYLOAD_TYPE, *(signers or self.stations))

    def trust_map(self, number: int, **members: object) -> bytes:
        """A trust map over the authorities as they are now."""
        site = {} if self.site is None else {"siteRoot": {"sha256": sha256_hex(self.site.root)}}
        return canonical_json(
            {
                "type": "urn:primum:trust-map:v0.1",
                "schemaVersion": "0.1",
                "id": self.origin.urn(),
                "number": number,
                "issuedAt": moment(self.origin.now()),
                "stage": "production",
                "component": COMPONENT,
                "engineeringRoot": {"sha256": sha256_hex(self.engineering.root)},
                "clinicalRoot": {"sha256": sha256_hex(self.clinical.root)},
                **site,
                **members,
            }
        )
