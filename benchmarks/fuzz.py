"""Fuzzed command lines and inputs, some ten thousand: OMP_NUM_THREADS=1 python -m benchmarks.fuzz RESULT.jsonl.

Each is run in this process, in a folder of its own, and must end in exit code 0, 1 or 2, without a traceback, in one
error and one hint line where the code is 2, and with no file left but where it was asked to write; see
``tests/fuzz``. No two are equal. A line of the result is a chunk, drawn from a seed of its own. A program that is
started again goes on with the first chunk that the result lacks, and may then draw again what it drew before. It exits
with 1 if there was any fault.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

CHUNK = 250


def run_chunk(ground: Any, seed: int, known: set[str]) -> dict[str, Any]:
    """Runs cases of a seed that are not known, nor equal to each other, and counts how they ended."""
    from tests.fuzz.cases import Case
    from tests.fuzz.driver import Outcome, run_many

    codes: Counter[str] = Counter()
    faults: list[dict[str, object]] = []

    def note(case: Case, outcome: Outcome) -> None:
        codes[f"{case.arguments[0]} {outcome.code}"] += 1
        if outcome.faults:
            faults.append({"case": repr(case), "faults": outcome.faults})

    started = time.perf_counter()
    run_many(ground, CHUNK, seed, note, known)
    seconds = round(time.perf_counter() - started, 1)
    found = {"seed": seed, "n": sum(codes.values()), "seconds": seconds}
    return {**found, "codes": dict(sorted(codes.items())), "faults": faults}


def summary(chunks: list[dict[str, Any]]) -> str:
    """What all chunks found, as a table in Markdown."""
    codes: Counter[str] = Counter()
    for chunk in chunks:
        codes.update(chunk["codes"])
    verbs = sorted({name.split()[0] for name in codes})
    rows = "".join(f"| {verb} | {' | '.join(str(codes[f'{verb} {code}']) for code in range(3))} |\n" for verb in verbs)
    totals = {name: sum(chunk[name] for chunk in chunks) for name in ("n", "seconds")}
    faults = sum(len(chunk["faults"]) for chunk in chunks)
    head = "| verb | exit code 0 | 1 | 2 |\n|---|---|---|---|\n"
    return f"{totals['n']} command lines in {totals['seconds']:.0f} s; faults: {faults}\n\n{head}{rows}"


def main() -> int:
    """Runs what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description="Fuzzed command lines and inputs.")
    parser.add_argument("result", type=Path, help="JSON lines, one a chunk of 250")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1_000_000, help="of the first chunk; the others count up from it")
    given = parser.parse_args()
    lines = given.result.read_text(encoding="utf-8").splitlines() if given.result.exists() else []
    chunks = [json.loads(line) for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        # Before the libraries are imported, which look at these then.
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_HOME"] = str(Path(folder) / "ground" / "home" / "hf")
        from tests.fuzz.driver import Ground

        ground, known = Ground(Path(folder) / "ground"), set[str]()
        for seed in range(given.seed, given.seed + -(-given.count // CHUNK)):
            if any(chunk["seed"] == seed for chunk in chunks):
                continue
            chunks.append(run_chunk(ground, seed, known))
            with given.result.open("a", encoding="utf-8") as file:
                file.write(json.dumps(chunks[-1], ensure_ascii=True) + "\n")
    print(summary(chunks))
    return 1 if any(chunk["faults"] for chunk in chunks) else 0


if __name__ == "__main__":
    raise SystemExit(main())
