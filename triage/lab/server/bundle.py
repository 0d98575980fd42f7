"""`make gpu-bundle`: one archive with which a machine without SGLang serves Gemma-4.

A machine that is lent for half an hour has a GPU, torch and nvcc, but neither SGLang nor a
network. The archive unpacks to `site/`, to be put on PYTHONPATH. SGLang's kernel wheel is
600 MB, of which one architecture's common operators are 17 MB packed; a server of the lab
needs no other (FlashAttention 3's alone are 1.7 GB unpacked). Modules that are imported and
never used are stand-ins (`stand_ins/`).

What FlashInfer and Triton compiled on such a machine can be folded in: `caches.tar.xz` beside
`site/`, which the smoke puts back. FlashInfer compiles again what is older than its
sources, so every file here carries the same old time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import click

from triage.errors import LabError

CACHES = "caches.tar.xz"
OLD = 1_600_000_000
"""The time of every file, in seconds since the epoch: older than anything compiled from it."""

ARCHITECTURES = ("sm90", "sm100")
KERNEL_PARTS = ("sgl_kernel/*.py", "sgl_kernel/spatial_ops*", "triton_kernels/*", "*.dist-info/*")
LEFT_OUT = ("*.data/*", "sglang/multimodal_gen/*", "sglang/test/*")


@dataclass(frozen=True, slots=True)
class Pins:
    """Everything that one release's bundle holds. `requirements`: `name==version`."""

    release: str
    torch: str
    requirements: tuple[str, ...]
    python: str
    platforms: tuple[str, ...]
    tried: str


def pins(release: str = "") -> Pins:
    """Those of `release`, the default one's without a name; LabError lists the known ones."""
    text = resources.files("triage.lab.server").joinpath("bundle_pins.toml").read_text()
    table = tomllib.loads(text)
    release = release or table["default"]
    known = table["release"]
    if release not in known:
        raise LabError(f"no bundle of SGLang {release}; known: {', '.join(known)}")
    mine = known[release]
    return Pins(
        release,
        mine["torch"],
        (f"sglang=={release}", *mine["pinned"], *table["common"]),
        table["python"],
        tuple(table["platforms"]),
        mine["tried"],
    )


def missing(requirements: Iterable[str], wheels: Path) -> list[str]:
    """Those of which `wheels` has no file."""
    there = {_normal(*path.name.split("-")[:2]) for path in wheels.glob("*.whl")}
    return [each for each in requirements if _normal(*each.split("==")) not in there]


def download(wanted: Pins, wheels: Path, run: Callable[..., object] = subprocess.run) -> list[str]:
    """Fetch with pip what `wheels` lacks; returns what that was. Raises LabError with pip's words.

    Each requirement alone and without dependencies: SGLang's whole set is not wanted.
    """
    wheels.mkdir(parents=True, exist_ok=True)
    lacking = missing(wanted.requirements, wheels)
    if not lacking:
        return []
    platforms = [word for name in wanted.platforms for word in ("--platform", name)]
    command = [
        *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels)),
        *("--python-version", wanted.python, "--only-binary=:all:", *platforms, *lacking),
    ]
    try:
        run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout or "").split())[-600:]
        raise LabError(f"pip could not fetch all of {', '.join(lacking)}: {said}") from error
    return lacking


def unpack(wheels: Sequence[Path], site: Path, architecture: str = "sm90") -> int:
    """Unpack `wheels` into `site`, less what a lab server does not need; returns the files."""
    count = 0
    for wheel in sorted(wheels):
        kernel = wheel.name.startswith("sglang_kernel-")
        kept = (*KERNEL_PARTS, f"sgl_kernel/{architecture}/*") if kernel else ("*",)
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                wanted = any(fnmatch(name, pattern) for pattern in kept)
                if not wanted or any(fnmatch(name, pattern) for pattern in LEFT_OUT):
                    continue
                archive.extract(name, site)
                count += not name.endswith("/")
    return count


def add_stand_ins(site: Path) -> list[str]:
    """Copy the stand-ins whose real module `site` has not; returns their names."""
    added = []
    with resources.as_file(resources.files("triage.lab.server.stand_ins")) as folder:
        for package in sorted(path for path in folder.iterdir() if path.is_dir()):
            if package.name.startswith("__") or (site / package.name).exists():
                continue
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package, site / package.name, ignore=ignored)
            added.append(package.name)
    return added


def pack(folder: Path, out: Path) -> int:
    """Pack `folder` into `out` (tar.xz), every file with the same old time; returns its bytes."""
    partial = out.with_suffix(".partial")
    xz = shutil.which("xz")
    with partial.open("wb") as file:
        if xz is None:
            with tarfile.open(fileobj=file, mode="w:xz", preset=6) as tar:
                _add(tar, folder)
        else:  # the same format on every core
            packer = subprocess.Popen([xz, "-T0", "-6"], stdin=subprocess.PIPE, stdout=file)
            assert packer.stdin is not None
            with tarfile.open(fileobj=packer.stdin, mode="w|") as tar:
                _add(tar, folder)
            packer.stdin.close()
            if packer.wait() != 0:
                raise LabError(f"xz ended with {packer.returncode} while packing {out}")
    partial.replace(out)
    return out.stat().st_size


def _add(tar: tarfile.TarFile, folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        entry = tar.gettarinfo(path, str(path.relative_to(folder)))
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = OLD, 0, 0, "", ""
        if entry.isreg():
            with path.open("rb") as file:
                tar.addfile(entry, file)
        else:
            tar.addfile(entry)


def _normal(name: str, version: str) -> tuple[str, str]:
    return re.sub(r"[-_.]+", "-", name).lower(), version


@click.command()
@click.option("--release", default="", help="SGLang release; the one that is known to serve.")
@click.option("--architecture", type=click.Choice(ARCHITECTURES), default="sm90")
@click.option("--wheels", type=click.Path(path_type=Path), default=Path("out/gpu/wheels"))
@click.option("--caches", type=click.Path(path_type=Path, exists=True), help="To fold in.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gpu"))
def main(release: str, architecture: str, wheels: Path, caches: Path | None, out: Path) -> None:
    """Make the archive; wheels that WHEELS has already are not fetched again."""
    try:
        wanted = pins(release)
        click.echo(f"SGLang {wanted.release}, for torch {wanted.torch}, Python {wanted.python}")
        fetched = download(wanted, wheels)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"fetched: {', '.join(fetched) or 'nothing, all wheels are there'}")
    names = {_normal(*each.split("==")) for each in wanted.requirements}
    chosen = [w for w in wheels.glob("*.whl") if _normal(*w.name.split("-")[:2]) in names]
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"bundle-{wanted.release}-{architecture}.tar.xz"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        site = Path(folder) / "site"
        site.mkdir()
        count = unpack(chosen, site, architecture)
        added = add_stand_ins(site)
        click.echo(f"{count} files of {len(chosen)} wheels; stand-ins: {', '.join(added)}")
        if caches is not None:
            shutil.copy(caches, Path(folder) / CACHES)
        size = pack(Path(folder), target)
    if not wanted.tried:
        click.echo(f"SGLang {wanted.release} has not been served from such a bundle yet")
    click.echo(f"written: {target}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
