"""What the demo's tests share: the recordings, loaded, where there are some."""

from pathlib import Path

import pytest
from tests.unit.agent.conftest import _enrolled, in_the_field

from primum_device_sim.demo.recordings import COHORT_BY_PATIENT, Recording, load_recordings

__all__ = ["_enrolled", "in_the_field"]


@pytest.fixture(scope="session")
def twelve_recordings(recordings: Path) -> dict[str, Recording]:
    """All twelve recordings, by patient."""
    return load_recordings(recordings, tuple(COHORT_BY_PATIENT))


@pytest.fixture(scope="session")
def wfdb_folder(recordings: Path) -> Path:
    """The folder of record 100 in its original files."""
    folder = recordings / "mitdb-100-wfdb"
    if not folder.is_dir():
        pytest.skip("PRIMUM_DATA holds no mitdb-100-wfdb")
    return folder
