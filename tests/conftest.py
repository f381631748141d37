"""What a machine may lack, in one place: a broker, a token, RAUC, PostgreSQL and the recordings.

A test that asks for the fixture ``broker`` or ``broker_executable`` is marked ``broker``; one that
asks for ``softhsm`` or ``tpm_programs`` is marked ``token``, and one that asks for ``rauc``,
``postgresql`` or ``recordings`` like that. Where the machine lacks it, the test is skipped with the
reason. At the end the run says how many tests ``PRIMUM_DATA`` enabled.
"""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.postgres_server import PostgresServer, running_postgresql

from primum_device_sim.broker import BrokerHandle, find_broker, running_broker
from primum_verifier.core.errors import FailedError

# The drawing library keeps a cache of fonts: in the checkout, never in the user's home.
os.environ.setdefault("MPLCONFIGDIR", str(Path(__file__).parents[1] / ".cache" / "matplotlib"))

# How long a test takes is measured where that is its matter, as processor time: a case that another
# process held up for 200 ms is no finding.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

_CACHE = Path(__file__).parents[1] / ".cache"
DATA_VARIABLE = "PRIMUM_DATA"
CAP_SYS_ADMIN = 1 << 21  # capabilities(7): without it nobody mounts, root neither
MARKS_OF_FIXTURES = {
    "broker": "broker",
    "broker_executable": "broker",
    "softhsm": "token",
    "tpm_programs": "token",
    "rauc": "rauc",
    "postgresql": "postgresql",
    "recordings": "recordings",
}
LONGEST_FIRST = (
    "tests/unit/agent/test_self_update.py",
    "tests/unit/device_sim/test_scenarios.py",
    "tests/campaigns/test_every_state.py",
    "tests/scenarios/test_first_update.py",
    "tests/unit/agent/test_agent_of_a_set.py",
    "tests/unit/agent/test_many_at_once.py",
    "tests/campaigns/test_life_model.py",
    "tests/unit/agent/test_update_end_to_end.py",
    "tests/scenarios/test_readme.py",
    "tests/unit/agent/test_install_image.py",
    "tests/unit/agent/test_power_cuts.py",
    "tests/unit/agent/test_service_package.py",
    "tests/unit/agent/test_resetting.py",
    "tests/campaigns/test_crash_sample.py",
    "tests/unit/agent/test_services_of_a_set.py",
    "tests/unit/device_sim/test_demo_training.py",
    "tests/unit/agent/test_sets.py",
    "tests/unit/agent/test_supervisor.py",
    "tests/unit/repo_tools/fleet/test_ingesting.py",
    "tests/unit/agent/test_broker_over_tls.py",
    "tests/unit/agent/test_shadow_process.py",
    "tests/unit/agent/test_application_in_c.py",
    "tests/unit/agent/test_health_not_proven.py",
    "tests/campaigns/test_power_sample.py",
    "tests/unit/agent/test_service_stop.py",
    "tests/unit/agent/test_probing.py",
    "tests/unit/agent/test_stopping_the_use.py",
    "tests/unit/agent/test_going_back_by_hand.py",
)
"""Files of half a minute and more: a long one begun last would leave the other workers idle."""


def pytest_configure(config: pytest.Config) -> None:
    """Refuses a ``PRIMUM_DATA`` that leads nowhere, and lets what a test starts hear Ctrl-C."""
    del config
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job begins like that, and whatever is started here would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    named = os.environ.get(DATA_VARIABLE)
    if named and not Path(named).is_dir():
        # Its tests would be skipped unnoticed.
        raise pytest.UsageError(f"{DATA_VARIABLE}={named} is no folder; correct it or unset it")


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with what it needs, and lets what takes longest begin first."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKS_OF_FIXTURES:
                item.add_marker(MARKS_OF_FIXTURES[fixture])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what the data folder was good for."""
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        terminalreporter.write_line(f"{DATA_VARIABLE} is not set: no full recordings")
        return
    done = {
        report.nodeid
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if "recordings" in report.keywords
    }
    terminalreporter.write_line(f"{DATA_VARIABLE}={named} enabled {len(done)} tests")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder with the full recordings."""
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        pytest.skip(f"needs the full recordings: name their folder with {DATA_VARIABLE}")
    return Path(named).absolute()


@pytest.fixture(scope="session")
def softhsm() -> Path:
    """The folder with SoftHSM below it, laid out like ``/usr``."""
    try:
        return Path((_CACHE / "softhsm" / "path").read_text().strip())
    except OSError:
        pytest.skip("needs SoftHSM, a token in software: make softhsm")


@pytest.fixture(scope="session")
def tpm_programs() -> Path:
    """The folder with a TPM 2 in software and its module below it, laid out like ``/``."""
    try:
        return Path((_CACHE / "tpm" / "path").read_text().strip())
    except OSError:
        pytest.skip("needs a TPM in software: make tpm")


@pytest.fixture(scope="session")
def rauc() -> Path:
    """The folder with RAUC below it, laid out like ``/``; RAUC mounts what it installs."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux: RAUC is for Linux alone")
    held = re.search(r"^CapEff:\t(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    may_mount = held is not None and bool(int(held[1], 16) & CAP_SYS_ADMIN)
    if os.geteuid() != 0 or not may_mount or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices: RAUC mounts bundles")
    try:
        return Path((_CACHE / "rauc" / "path").read_text().strip())
    except OSError:
        pytest.skip("needs RAUC, an updater of operating systems: make rauc")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A database server of the run's own; it takes no root, so root's children are nobody."""
    try:
        programs = Path((_CACHE / "postgresql" / "path").read_text().strip())
    except OSError:
        pytest.skip("needs PostgreSQL: make postgresql")
    with running_postgresql(programs) as server:
        yield server


@pytest.fixture(scope="session")
def broker_executable() -> Path:
    """A mosquitto that can be started."""
    try:
        return find_broker()
    except FailedError as error:
        pytest.skip(f"{error.message}: {error.remedy}")


@pytest.fixture
def broker(broker_executable: Path, tmp_path: Path) -> Iterator[BrokerHandle]:
    """A broker of the test's own: own port, own folder, nothing kept."""
    with running_broker(broker_executable, tmp_path / "broker") as handle:
        yield handle
