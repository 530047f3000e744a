"""Makes the models of the embedded world again: python pretrain/make.py shipped, or ten, or designs.

``shipped``: what the package holds: each tower, and its gold twins without one class and without one design of it.
``ten``: gold twins without ten classes at once, one a group, three seeds a tower; a build product, not shipped.
``designs``: gold twins without one design of each of ten classes at once, likewise.
``again``: each tower once more with another seed, to see how far accuracy depends on it.

Everything is built under pretrain/build. Runs go on where they were, and one that is finished is only exported again,
so that the same command after a stop does the rest; a run of another recipe is refused. Each run takes one core; --jobs
says how many there are at a time.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from efface.symbols.catalogue import MEMBERS

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src" / "efface" / "builtin_models"
TOWERS = ("rn", "vit")
TEN = (
    "bishop",
    "heart",
    "four",
    "omega",
    "leo",
    "jupiter",
    "left arrow",
    "sharp",
    "umbrella",
    "integral",
)
"""One member of each of ten groups."""
TEN_DESIGNS = (
    "queen/figure",
    "heart/card",
    "four/roman",
    "omega/small",
    "aries/stars",
    "jupiter/picture",
    "left arrow/hand",
    "sharp/staff",
    "umbrella/scene",
    "integral/bold",
)
"""One design of a member of each of them, of classes that no setting was tried out on."""

Changes = Mapping[str, str]


def listed(*names: str) -> str:
    """A list as ``--set`` reads it."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def shipped(tower: str) -> dict[str, Changes]:
    """A tower and its gold twins."""
    return {
        f"symbols-{tower}": {},
        f"symbols-{tower}-without-knight": {"data.without.classes": listed("knight")},
        f"symbols-{tower}-without-knight-notation": {"data.without.designs": listed("knight/notation")},
    }


def ten(tower: str) -> dict[str, Changes]:
    """Gold twins without ten classes."""
    return {
        f"symbols-{tower}-without-ten-seed{seed}": {
            "data.without.classes": listed(*TEN),
            "training.seed": str(seed),
        }
        for seed in range(3)
    }


def designs(tower: str) -> dict[str, Changes]:
    """Gold twins without one design of each of ten classes."""
    return {
        f"symbols-{tower}-without-ten-designs-seed{seed}": {
            "data.without.designs": listed(*TEN_DESIGNS),
            "training.seed": str(seed),
        }
        for seed in range(3)
    }


def again(tower: str) -> dict[str, Changes]:
    """A tower from another seed."""
    return {f"symbols-{tower}-seed1": {"training.seed": "1"}}


def make(name: str, tower: str, changes: Changes, build: Path) -> int:
    """Pre-trains one model, or goes on with it; returns the exit code."""
    folder = build / name
    command = [sys.executable, "-m", "efface", "pretrain", str(HERE / f"symbols-{tower}.toml"), "--out", str(folder)]
    command += [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (build / f"{name}.txt").open("a", encoding="utf-8") as said:
        more = ["--resume"] if folder.exists() else []
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run([*command, *more], stdout=said, stderr=said, env=environment, check=False).returncode


def ship(name: str, build: Path) -> None:
    """Copies a model with its card and its class names into the package, and its log beside the recipes."""
    shutil.rmtree(PACKAGE / name, ignore_errors=True)
    shutil.copytree(build / name / "model", PACKAGE / name)
    card = (build / name / "README.md").read_text(encoding="utf-8").replace("FOLDER/model", "FOLDER")
    (PACKAGE / name / "README.md").write_text(card, encoding="utf-8")
    (PACKAGE / name / "classnames.txt").write_text("\n".join(MEMBERS) + "\n", encoding="utf-8")
    (HERE / "logs").mkdir(exist_ok=True)
    shutil.copyfile(build / name / "log.jsonl", HERE / "logs" / f"{name}.jsonl")


def main() -> int:
    """Makes what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("shipped", "ten", "designs", "again"))
    parser.add_argument("--tower", choices=TOWERS, action="append", help="default: both")
    parser.add_argument("--seeds", type=int, help="at most so many of each, of what is made from several")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, a core each")
    parser.add_argument("--build", type=Path, default=HERE / "build")
    asked = parser.parse_args()
    kinds = {"shipped": shipped, "ten": ten, "designs": designs, "again": again}
    runs = {
        name: (tower, changes)
        for tower in asked.tower or TOWERS
        for name, changes in list(kinds[asked.what](tower).items())[: None if asked.what == "shipped" else asked.seeds]
    }
    with ThreadPoolExecutor(asked.jobs) as pool:
        codes = list(pool.map(lambda name: make(name, *runs[name], asked.build), runs))
    for name, code in zip(runs, codes, strict=True):
        print(f"{name}: {'done' if code == 0 else f'exit code {code}, see {asked.build / name}.txt'}")
        if code == 0 and asked.what == "shipped":
            ship(name, asked.build)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
