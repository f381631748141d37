"""Builds the Debian packages of a device; the same inputs give the same bytes.

``make package`` leaves two files in ``dist/``:

- ``primum-agent``: agent and verifier with their pinned third parties in ``/usr/lib/primum``, an
  environment of the system's Python that sees nothing else of the system's packages; the loader,
  which is what ``/usr/bin/primum-agent`` starts; the service.
- ``primum-bench``: NumPy and the model runtime for the self-test, for devices that bring no bench
  of their own.  It lies in a folder of its own, which every agent looks into.

``--tree`` leaves the agent as a component of a set instead: a folder with what lies in the
site-packages of an agent, which ``primum-repo release build`` takes as the tree of a component.

Only ``dpkg-deb`` is needed besides the checkout's own interpreter, whose Python version and
machine the packages are for.  ``SOURCE_DATE_EPOCH``, or the time of the last commit, is the time
of every file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGING = CHECKOUT / "packaging"
sys.path.insert(0, str(PACKAGING / "checks"))

# A script of the folder beside this one; neither is part of a distribution.
import device_install  # type: ignore[import-not-found]  # noqa: E402

HOME = "usr/lib/primum"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"{HOME}/lib/{PYTHON}/site-packages"
BENCH_SITE = f"{HOME}/bench"
# Whichever agent runs, of the package or of a set, finds the bench of the device by this.
BENCH_PATH = "primum-bench.pth"
LOADER = f"{HOME}/loader"
VERIFY = "usr/bin/primum-verify"
PROGRAMS = (LOADER, VERIFY)
RULES = "primum-components.rules"
# What an installer notes about the place and time of its own run, and tests that nobody runs.
LEFT_OUT = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "__pycache__")
UNUSED_TESTS = ("numpy", "psutil")
# What a step may know of its caller: where to write, and where the pinned wheels come from.
KEPT = ("HOME", "TMPDIR", "PIP_", "SSL_CERT_", "http", "no_proxy")
EXIT_DONE, EXIT_FAILED = 0, 3


class Part(Enum):
    """What can be built."""

    AGENT = auto()
    BENCH = auto()
    TREE = auto()


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package as ``dpkg`` sees it.

    Attributes:
        name: its name.
        depends: what has to be there, as a control field.
        recommends: what most devices want besides.
        summary: the first line of its description.
        text: the rest of it.
    """

    name: str
    depends: str
    recommends: str = ""
    summary: str
    text: str

    def control(self, *, version: str, architecture: str, installed_kib: int) -> str:
        """The control file."""
        fields = {
            "Package": self.name,
            "Version": version,
            "Architecture": architecture,
            "Maintainer": "The Primum authors <primum@localhost>",
            "Installed-Size": str(installed_kib),
            "Depends": self.depends.replace("${version}", version),
            "Recommends": self.recommends,
            "Section": "admin",
            "Priority": "optional",
            "Description": f"{self.summary}\n {self.text}",
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


AGENT = Package(
    name="primum-agent",
    depends=f"{PYTHON}, libc6 (>= 2.34), libseccomp2",
    recommends="primum-bench",
    summary="update agent for AI-enabled medical devices",
    text="Nothing goes live that is not signed, approved for use here, and proven on this device.",
)
BENCH = Package(
    name="primum-bench",
    depends="primum-agent (>= ${version})",
    summary="self-test bench of the Primum update agent",
    text="NumPy and ONNX Runtime, for devices that bring no bench of their own.",
)


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(f"package: {text}", file=sys.stderr, flush=True)


def must(command: list[str], **variables: str) -> str:
    """Runs one step in the C locale; what it printed.

    Raises:
        CheckError: it failed.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    environment = {"PATH": search_path(), "LC_ALL": "C.UTF-8", "TZ": "UTC", **kept, **variables}
    return str(device_install.must(command, environment=environment))


def search_path() -> str:
    """Where programs are looked for: the build backend looks for its own on the PATH."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def epoch() -> int:
    """The time that every file gets, in seconds."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdigit():
        return int(given)
    return int(must(["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]))


def version_of(part: str) -> str:
    """The version that a part's ``pyproject.toml`` names."""
    with (CHECKOUT / part / "pyproject.toml").open("rb") as file:
        found: str = tomllib.load(file)["project"]["version"]
    return found


def install(folder: Path) -> Path:
    """An environment with the agent, the verifier and their third parties; its programs."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    return Path(device_install.install_device(folder, {**environment, "PATH": search_path()}))


def add_bench(programs: Path) -> None:
    """The bench's third parties, into the same environment."""
    pip = [sys.executable, "-I", "-m", "pip", "--python", str(programs / "python")]
    pinned = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"]
    must([*pip, "install", *pinned, "-r", str(PACKAGING / "requirements" / "verifier-bench.txt")])
    must([*pip, "check"])


def lay_site(installed: Path, site: Path, *, shown: str, without: frozenset[str]) -> None:
    """Copies what was installed into a folder of its own, and compiles it.

    Args:
        installed: the folder to copy from.
        site: made here.
        shown: where compiled modules say that they lie, for people who read a traceback.
        without: top-level names that another package brings.
    """
    site.mkdir(parents=True)
    for source in sorted(installed.iterdir()):
        if source.name in without or source.name in LEFT_OUT:
            continue
        left_out = [*LEFT_OUT, *(["tests"] if source.name in UNUSED_TESTS else [])]
        if source.is_dir():
            shutil.copytree(source, site / source.name, ignore=shutil.ignore_patterns(*left_out))
        else:
            shutil.copyfile(source, site / source.name)
    # Nobody may write there later: what is compiled now is never checked against its source.
    compiled = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    place = ["-s", str(site), "-p", shown, str(site)]
    must([sys.executable, "-I", *compiled, *place], PYTHONHASHSEED="0")


def lay_agents_site(installed: Path, site: Path, *, shown: str) -> None:
    """The site-packages of an agent: its own, its third parties', and the way to the bench."""
    lay_site(installed, site, shown=shown, without=frozenset())
    (site / BENCH_PATH).write_text(f"/{BENCH_SITE}\n")


def lay_tree(installed: Path, folder: Path) -> Path:
    """The agent as a component of a set; files that no program starts, of one mode.

    Args:
        installed: the folder to copy from.
        folder: what lay there is replaced.
    """
    if folder.exists():
        shutil.rmtree(folder)
    lay_agents_site(installed, folder, shown="site-packages")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def lay_agent(root: Path) -> None:
    """Loader, commands, interpreter, service and documents of the agent's package."""
    home = root / HOME
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(f"/usr/bin/{PYTHON}")
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON[6:]}\n"
    )
    shutil.copyfile(PACKAGING / "loader" / AGENT.name, root / LOADER)
    (root / VERIFY).parent.mkdir(parents=True)
    (root / VERIFY).with_name(AGENT.name).symlink_to(f"/{LOADER}")
    (root / VERIFY).write_text(
        f"#!/{HOME}/bin/python3 -I\n"
        f'"""{Path(VERIFY).name}: see --help."""\n'
        "import sys\n\nfrom primum_verifier.shell.cli import main\n\nsys.exit(main())\n"
    )
    units = {
        "primum-agent.service": "usr/lib/systemd/system/primum-agent.service",
        "primum.sysusers.conf": "usr/lib/sysusers.d/primum.conf",
        "primum.tmpfiles.conf": "usr/lib/tmpfiles.d/primum.conf",
    }
    for name, target in units.items():
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGING / "systemd" / name, path)
    documents = root / "usr/share/doc" / AGENT.name
    (documents / "examples").mkdir(parents=True)
    pages = (CHECKOUT / "docs" / name for name in ("device.md", "components.md"))
    for source in (CHECKOUT / "LICENSE", CHECKOUT / "CHANGELOG.md", *pages):
        shutil.copyfile(source, documents / source.name)
    (documents / "LICENSE").rename(documents / "copyright")
    # An example: which services the agent may restart is the device's own.
    shutil.copyfile(PACKAGING / "polkit" / RULES, documents / "examples" / RULES)


def seal(package: Package, root: Path, *, version: str, when: int, output: Path) -> Path:
    """Writes the control files, gives every file its mode and time, and packs.

    Returns:
        The package's file.
    """
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    control = root / "DEBIAN"
    control.mkdir()
    sums = "".join(
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"
        f"  {path.relative_to(root)}\n"
        for path in files
    )
    (control / "md5sums").write_text(sums)
    architecture = must(["dpkg", "--print-architecture"]).strip()
    kib = sum(-(-path.stat().st_size // 1024) for path in files)
    (control / "control").write_text(
        package.control(version=version, architecture=architecture, installed_kib=kib)
    )
    scripts = sorted((PACKAGING / "debian" / package.name).glob("*"))
    for script in scripts:
        shutil.copyfile(script, control / script.name)
    programs = {root / name for name in PROGRAMS}
    programs |= {control / script.name for script in scripts}
    for path in [root, *sorted(root.rglob("*"))]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (when, when), follow_symlinks=False)
    made = output / f"{package.name}_{version}_{architecture}.deb"
    pack = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z9", "--build", str(root), str(made)]
    must(pack, SOURCE_DATE_EPOCH=str(when))
    say(f"{made.name}: {made.stat().st_size / 2**20:.1f} MiB, installed {kib / 1024:.1f} MiB")
    return made


def build(output: Path, *, revision: str, parts: Collection[Part]) -> list[Path]:
    """Builds what is asked for.

    Args:
        output: the folder it is left in.
        revision: added to the agent's version after a plus sign; empty for none.
        parts: what is built.
    """
    when, version = epoch(), version_of("agent") + (f"+{revision}" if revision else "")
    output.mkdir(parents=True, exist_ok=True)
    made = []
    with tempfile.TemporaryDirectory(prefix="primum-package-") as name:
        folder = Path(name)
        programs = install(folder)
        site = programs.parent / "lib" / PYTHON / "site-packages"
        known = frozenset(path.name for path in site.iterdir())
        if Part.TREE in parts:
            architecture = must(["dpkg", "--print-architecture"]).strip()
            made.append(lay_tree(site, output / f"{AGENT.name}_{version}_{architecture}.tree"))
        if Part.AGENT in parts:
            root = folder / AGENT.name
            lay_agents_site(site, root / SITE, shown=f"/{SITE}")
            lay_agent(root)
            made.append(seal(AGENT, root, version=version, when=when, output=output))
        if Part.BENCH in parts:
            add_bench(programs)
            root = folder / BENCH.name
            lay_site(site, root / BENCH_SITE, shown=f"/{BENCH_SITE}", without=known)
            made.append(seal(BENCH, root, version=version, when=when, output=output))
    return made


def main() -> int:
    """Builds what was asked for and prints the files' names."""
    parser = argparse.ArgumentParser(prog="package", description=__doc__)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "dist", metavar="DIR")
    parser.add_argument("--revision", default="", help="added to the version after a plus sign")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--without-bench", action="store_const", dest="parts", const=(Part.AGENT,))
    kinds.add_argument("--tree", action="store_const", dest="parts", const=(Part.TREE,))
    parser.set_defaults(parts=(Part.AGENT, Part.BENCH))
    options = parser.parse_args()
    os.umask(0o022)
    try:
        made = build(options.output, revision=options.revision, parts=options.parts)
    except (device_install.CheckError, OSError, subprocess.SubprocessError) as error:
        print(f"package: {error}", file=sys.stderr)
        return EXIT_FAILED
    for path in made:
        print(path)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
