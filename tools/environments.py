"""Make the virtual environment .venv, with everything that the other targets need: `python -m tools.environments`.

uv installs: pip takes four times as long, and for three environments that was a fifth of all that CI does. Where uv
can't, as with an index that only pip is told of, pip does it after all. Nobody compiles what is installed: most of it
is never imported.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"


def made(folder: Path, python: Path | str, extra: str) -> Path:
    """An environment with this project and one of its extras in it; what it has already is left as it is.

    Args:
        folder: Where it is, or shall be.
        python: The interpreter to make it of when it has none.
        extra: The extra to install.

    Returns:
        Its interpreter.

    Raises:
        subprocess.CalledProcessError: Neither uv nor pip could install the project.
    """
    inside = folder / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        # Before 3.13 venv does not keep itself out of git, and so out of the tools that heed .gitignore.
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    install(inside, extra)
    return inside


def install(inside: Path, extra: str) -> None:
    """Install the project into an environment that there is.

    Raises:
        subprocess.CalledProcessError: Neither uv nor pip could.
    """
    wanted = ["-e", f"{ROOT}[{extra}]"]
    quick = [_uv(), "pip", "install", "--quiet", "--python", inside, *wanted]
    if subprocess.run(quick, check=False).returncode != 0:
        print(f"uv could not install {extra} for {inside}; pip does", flush=True)
        _pip(inside, *wanted)


def _uv() -> Path:
    """The uv of .venv; if there is none it is installed first, and a pip for whoever uses .venv."""
    uv = HOME / "bin" / "uv"
    if not uv.exists():
        _pip(HOME / "bin" / "python", "uv", "pip")
    return uv


def _pip(inside: Path, *wanted: str) -> None:
    here = [sys.executable, "-m", "pip"]
    if subprocess.run([*here, "--version"], capture_output=True, check=False).returncode != 0:
        # Debian's Python leaves pip to a package of its own.
        subprocess.run([inside, "-m", "ensurepip"], capture_output=True, check=True)
        here = [str(inside), "-m", "pip"]
    options = ["-qq", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*here, "--python", str(inside), "install", *options, *wanted], check=True)


if __name__ == "__main__":
    made(HOME, sys.executable, "dev")
