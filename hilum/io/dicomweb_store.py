"""A DICOM file to a DICOMweb server, by STOW-RS."""

from __future__ import annotations

from pathlib import Path

from hilum.io.dicom_file import dataset_of
from hilum.io.dicomweb_address import Address
from hilum.io.dicomweb_session import client, talking
from hilum.values.errors import Failed


def push(path: Path, address: Address) -> None:
    """Stores the file on the address's server; what the server did not take is an error."""
    dataset = dataset_of(path, None, pixels=True)
    dataset.preamble = dataset.preamble or bytes(128)  # without it servers keep, and give back, what is no DICOM file
    asked = client(address)
    with talking(address):
        stored = asked.store_instances([dataset])
        failed = stored.get("FailedSOPSequence") or ()
        reasons = ", ".join(f"{int(each.get('FailureReason') or 0):04X}H" for each in failed)
    if failed:
        raise Failed(f"{address.host} did not take {path.name} (reason {reasons}); the file stays where it is.")
