"""The wheel and the source distribution that scripts/wheel made, in the directory KILN_DIST: what is
in them, what the library asks of a system, and that the wheel works without the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def dist() -> Path:
    if "KILN_DIST" not in os.environ:
        pytest.skip("KILN_DIST names no directory with a wheel (scripts/wheel makes one)")
    return Path(os.environ["KILN_DIST"])


@pytest.fixture(scope="module")
def wheel(dist) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def library(wheel, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(wheel) as archive:
        return archive.extract("kiln/lib/libkiln_ffi.so", folder)


def readelf(*arguments: str) -> str:
    return subprocess.run(
        ["readelf", "--wide", *arguments], check=True, capture_output=True, text=True
    ).stdout


def symbols(library: str) -> list[tuple[str, bool]]:
    """The dynamic symbols with their versions, and whether they are the library's own."""
    lines = [line.split() for line in readelf("--dyn-syms", library).splitlines()]
    return [
        (line[7], line[6] != "UND") for line in lines if len(line) > 7 and line[0][:-1].isdigit()
    ]


@pytest.fixture(scope="module")
def glibc(wheel) -> tuple[int, int]:
    """The oldest that the wheel's name says it runs on."""
    name = r"kiln-\d+\.\d+\.\d+-py3-none-manylinux_(\d+)_(\d+)_x86_64\.whl"
    match = re.fullmatch(name, wheel.name)
    assert match, wheel.name
    return int(match[1]), int(match[2])


def test_any_python_and_glibc_2_28(glibc):
    """On what releases are built on; a newer machine's compiler wants more (scripts/wheel)."""
    here = tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")))
    assert glibc == (2, 28) or here > (2, 36)


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        metadata = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    assert {"kiln/__init__.py", "kiln/py.typed", "kiln/compat/deep_gemm/__init__.py"} <= set(names)
    allowed = re.compile(
        r"kiln/([\w/]+\.py|py\.typed|lib/libkiln_ffi\.so)|kiln-[\d.]+\.dist-info/.*"
    )
    assert [name for name in names if not allowed.fullmatch(name)] == []
    requirements = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    always = [r for r in requirements if "extra ==" not in r]
    assert len(always) == 1
    assert always[0].startswith("apache-tvm-ffi")


def test_needs_nothing_newer_than_its_name_says(library, glibc):
    newest = {"GLIBC": glibc, "GCC": (4, 8)}  # of libgcc_s
    versions = set()
    for name, own in symbols(library):
        version = re.fullmatch(r".*@@?([A-Z]+)_([\d.]+)", name)
        if version and not own:
            versions.add((version[1], tuple(map(int, version[2].split(".")))))
    assert ("GLIBC", (2, 14)) in versions  # memcpy: the versions were read
    too_new = [v for v in versions if v[1] > newest.get(v[0], ())]
    assert too_new == []


def test_links_no_cuda_no_torch_and_no_libstdcxx(library):
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("--dynamic", library))
    assert set(needed) <= {
        "libtvm_ffi.so", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0",
        "libgcc_s.so.1", "ld-linux-x86-64.so.2",
    }  # fmt: skip
    assert "libtvm_ffi.so" in needed
    assert not re.search(r"\((RPATH|RUNPATH)\)", readelf("--dynamic", library))


def test_shows_nothing_but_its_functions(library):
    shown = {name for name, own in symbols(library) if own}
    assert "__tvm_ffi_gemm" in shown
    assert [name for name in shown if not name.startswith("__tvm_ffi_")] == []


def test_source_distribution_has_what_a_build_needs_and_no_build(dist):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    listed = subprocess.run(
        ["git", "ls-files", "--full-name", ":/"],
        cwd=HERE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not in a checkout")
    parts = ("cmake/", "arith/", "device/", "include/", "ops/", "python/", "runtime/")
    wanted = {n for n in listed.stdout.split() if n.startswith(parts)} | {
        "CMakeLists.txt",
        "pyproject.toml",
        "LICENSE",
    }
    assert wanted - names == set()
    assert [n for n in names if n.startswith(("build", ".venv", "dist", ".git/"))] == []


@pytest.fixture(scope="module")
def empty_python(wheel, tmp_path_factory) -> str:
    """A Python with the wheel, the oldest tvm-ffi that it takes and NumPy, and nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin/python3")
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel), "numpy",
         "apache-tvm-ffi==0.1.9"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 and "Could not find a version" in done.stderr:
        pytest.skip("no network to install NumPy from")
    assert done.returncode == 0, done.stderr
    return python


MULTIPLY = """
import sys
sys.path.append(sys.argv[1])
import numpy as np, bits, kiln
from operands import Gemm
operands = Gemm(37, 200, 272)
wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
for device in ("emu", "cpu"):
    d = kiln.gemm(*operands.pairs, out_dtype="fp32", device=device)
    assert (d.view(np.uint32) == wanted.view(np.uint32)).all(), device
try:
    kiln.gemm(*operands.pairs)
except ValueError as error:
    assert "ml_dtypes" in str(error), error
print(kiln.__file__)
"""


def multiply(python: str, folder: Path, **environment: str) -> None:
    done = subprocess.run(
        [python, "-c", MULTIPLY, str(HERE)],
        cwd=folder,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "KILN_CACHE_DIR": str(folder / "cache"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "site-packages" in done.stdout


def test_works_in_an_empty_environment_without_the_source_tree(empty_python, tmp_path):
    """The emulator compiles its kernel from the sources inside the library."""
    multiply(empty_python, tmp_path)


def test_works_where_glibc_starts_no_process_in_a_directory(empty_python, tmp_path):
    """As before glibc 2.29: the compiler is then started by a shell that goes there."""
    source = tmp_path / "old.c"
    source.write_text(
        "#include <errno.h>\n"
        "int posix_spawn_file_actions_addchdir_np(void* actions, const char* path) {\n"
        "  return ENOSYS;\n"
        "}\n"
    )
    old = tmp_path / "libold.so"
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", old], check=True)
    multiply(empty_python, tmp_path, LD_PRELOAD=str(old))
