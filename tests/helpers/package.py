"""Build the wheel and the sdist, and try them as somebody who has nothing else would.

    python -m tests.helpers.package

`make package` runs it. The environment is new, in a temporary folder, and what is run there stands
in a folder that has an `envs` and a `runners` of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import gymnasium, rlmaml
assert "site-packages" in rlmaml.__file__, rlmaml.__file__
env = gymnasium.make("rlmaml:rlmaml/Navigation2D-v0")
env.unwrapped.set_task([0.3, -0.4])
policy = rlmaml.load("navigation").adapt(env)
print(rlmaml.__version__, policy.predict(env.reset(seed=0)[0])[0])
"""
COMMANDS = (
    "--help",
    "list",
    "train navigation --iterations 2 --tasks 2 --horizon 20 --checkpoint-every 1 --out run",
    "evaluate run --tasks 2 --episodes 2",
    "report run",
)


def run(*command: str | Path, **options: object) -> None:
    """Run a command, or end with what it said."""
    print(">", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, **options)  # pyright: ignore


def build(folder: Path) -> list[Path]:
    """Build both, of a copy of what git tracks, so that nothing else can be in them."""
    copy = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    out = ROOT / "dist"
    for path in out.glob("rlmaml-*"):
        path.unlink()
    backend = "from setuptools import build_meta as b; b.build_sdist(r'{0}'); b.build_wheel(r'{0}')"
    out.mkdir(exist_ok=True)
    run(sys.executable, "-c", backend.format(out), cwd=copy, stdout=subprocess.DEVNULL)
    return sorted(out.glob("rlmaml-*"))


def main() -> None:
    """Build, install and try; what fails ends it with its exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = build(folder)
        for path in built:
            print(f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB")
        run(sys.executable, "-m", "venv", folder / "env")
        python = folder / "env" / "bin" / "python"
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        pinned = ("-c", ROOT / "constraints.txt")
        run(*pip, *pinned, "torch")
        run(*pip, *pinned, next(path for path in built if path.suffix == ".whl"))
        work = folder / "work"
        for package in ("envs", "runners"):
            (work / package).mkdir(parents=True)
            (work / package / "__init__.py").write_text("raise SystemExit('not ours')")
        for words in COMMANDS:
            run(python.with_name("rlmaml"), *words.split(), cwd=work)
        run(python, "-c", SCRIPT, cwd=work)
    print("The wheel works in an environment of its own.")


if __name__ == "__main__":
    main()
