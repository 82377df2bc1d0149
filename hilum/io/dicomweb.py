"""A series from a DICOMweb server: found by QIDO-RS, fetched by WADO-RS as the very files, read by the DICOM reader."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.io import lasting, limits
from hilum.io.dicom import read_dicom
from hilum.io.dicomweb_address import SHOWN_DIGITS, Address
from hilum.io.dicomweb_session import client, talking
from hilum.values import progress
from hilum.values.errors import BadInput, Failed
from hilum.values.image import Image

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient
    from pydicom import Dataset

NO_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "REG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "AU", "DOC", "FID"})
MediaTypes = tuple[tuple[str, str], ...] | None
AS_STORED: MediaTypes = (("application/dicom", "*"),)  # no transcoding on the way
FIELDS = ("Modality", "NumberOfSeriesRelatedInstances")
FOLDER = "the series"  # sentences about what came name it
SPARE = 1 << 28  # bytes of disk that are left free


@dataclass(frozen=True, slots=True)
class Listed:
    """What a server says of a series: nothing that its author wrote."""

    uid: str
    modality: str
    count: int | None

    def described(self) -> str:
        """Modality, count and the UID's end."""
        files = "" if self.count is None else f", {self.count} file{'s'[: self.count != 1]}"
        return f"{self.modality or 'no modality'}{files}, UID ends {self.uid[-SHOWN_DIGITS:]}"


def read_dicomweb(
    address: Address,
    *,
    series: str | None = None,
    frame: int | None = None,
    spacing: tuple[float, ...] | None = None,
) -> Image:
    """The image at an address, as `read_dicom` reads its files; they stay on disk as long as the image is there.

    `series` picks among the study's series where the address names none, by number in the list that an error shows
    or by the UID's end; else among what `read_dicom` finds in the series.
    """
    with lasting.folder() as place:
        (place / FOLDER).mkdir()
        count = _fetch(address, series, place / FOLDER)
        within = series if address.series else None
        image = read_dicom(place / FOLDER, series=within, frame=frame, spacing=spacing)
        source = replace(image.source, detail=lasting.kept(image.source.detail, place))
    came = f"{count} file{'s'[: count != 1]} came from a DICOMweb server"
    return replace(image, source=source).noted(came)


def _fetch(address: Address, series: str | None, folder: Path) -> int:
    """Puts the files into the folder; how many they are."""
    asked = client(address)
    with talking(address):
        listed = _chosen(_listing(asked, address), address, series)
        expected = 1 if address.instance else listed.count
        limits.check_count(expected or 0, FOLDER)
        count = 0
        for count, dataset in enumerate(_sent(asked, address, listed.uid), start=1):
            limits.check_count(count, FOLDER)
            _keep(dataset, folder / f"{count:06d}.dcm")
            progress.count("files fetched", count, expected or 0)
    if count == 0:
        raise BadInput(f"{address.host} knows the series and sends no file of it.")
    if expected is not None and count != expected:
        raise BadInput(f"{address.host} says that the series has {expected} files and sent {count}: ask again.")
    return count


def _listing(asked: DICOMwebClient, address: Address) -> list[Listed]:
    """The study's series, or the one that the address names, in the order of their UIDs."""
    filters = {} if address.series is None else {"SeriesInstanceUID": address.series}
    found = asked.search_for_series(address.study, fields=FIELDS, search_filters=filters)
    listed = [_listed(each) for each in found]
    return sorted((each for each in listed if address.series in (None, each.uid)), key=lambda each: each.uid)


def _listed(found: dict[str, dict[str, Any]]) -> Listed:
    from pydicom import Dataset as Told

    dataset = Told.from_json(found)
    count = dataset.get("NumberOfSeriesRelatedInstances")
    return Listed(
        str(dataset.SeriesInstanceUID), str(dataset.get("Modality") or ""), None if count is None else int(count)
    )


def _chosen(listed: Sequence[Listed], address: Address, series: str | None) -> Listed:
    if not listed:
        what = "study with a series" if address.series is None else "series in that study"
        raise BadInput(f"{address.host} has no such {what}: check the UIDs of the address.")
    if address.series is not None:
        return listed[0]
    images = [each for each in listed if each.modality not in NO_IMAGES]
    shown = "; ".join(f"{number}: {each.described()}" for number, each in enumerate(images, start=1))
    if not images:
        raise BadInput(f"the study has no series of images, only {', '.join(each.modality for each in listed)}.")
    if series is None and len(images) > 1:
        raise BadInput(f"the study has {len(images)} series of images, pick one with --series: {shown}.")
    if series is None:
        return images[0]
    if series.isdigit() and 1 <= int(series) <= len(images):
        return images[int(series) - 1]
    matches = [each for each in images if series and each.uid.endswith(series)]
    if len(matches) != 1:
        raise BadInput(f"--series {series} fits {len(matches)} series of the study; there are: {shown}.")
    return matches[0]


def _sent(asked: DICOMwebClient, address: Address, series: str) -> Iterable[Dataset]:
    """The files as they are stored, or as the server likes to send them where it cannot do that."""
    import requests

    try:
        return _retrieved(asked, address, series, AS_STORED)
    except requests.HTTPError as error:
        if error.response is None or error.response.status_code not in (400, 406):
            raise
        return _retrieved(asked, address, series, None)


def _retrieved(asked: DICOMwebClient, address: Address, series: str, kinds: MediaTypes) -> Iterable[Dataset]:
    if address.instance is not None:
        return [asked.retrieve_instance(address.study, series, address.instance, media_types=kinds)]
    return asked.iter_series(address.study, series, media_types=kinds)


def _keep(dataset: Dataset, path: Path) -> None:
    """Writes the bytes that came, not the dataset that was parsed from them."""
    content: bytes = dataset.buffer.getvalue()  # the library reads each file from memory
    try:
        if shutil.disk_usage(path.parent).free < len(content) + SPARE:
            raise Failed("the temporary folder has no room for the series: set TMPDIR to a place that has.")
        path.write_bytes(content)
    except OSError as error:
        raise Failed(f"the series cannot be kept in the temporary folder: {error.strerror}.") from error
