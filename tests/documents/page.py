"""The pages, and the commands and Python blocks in them that can be run.

A command is a line after `$` in a ```console block, or a line of an indented block. A ```python block is run;
if "Saved as `NAME`" follows it, it is saved under that name instead, for the commands after it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "models").glob("*/README.md")),
    ROOT / "CONTRIBUTING.md",
]
FENCES = {"console", "text", "toml", "python", "javascript"}
# Patterns for the beginning of a command or block that tests can't run, and why. Everything else is run.
NOT_RUN = {
    r"pip |npm ": "asks a package index",
    r"node ": "needs Node and two packages of it",
    r"make\b": "asks a package index, for an environment",
    r"torchrun ": "needs several machines; tests/training/parallel runs it on one",
    r"alexnet-tk train .*--gpus ": "starts several processes; tests/training/parallel does with --device cpu",
    r"alexnet-tk .*--device cuda": "needs a GPU",
    r"alexnet-tk import ": "needs a public file of 240 MB; tests/importing makes such files",
    r"alexnet-tk .*--engine ray": "starts Ray; tests/prediction does",
    r"RAY_ADDRESS=|ray ": "needs a cluster",
    r"python benchmarks/": "measures for minutes",
    r"alexnet-tk benchmark ": "measures for half a minute; tests/test_benchmarking.py runs it",
    r"tensorboard ": "serves until it is stopped",
}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Step:
    """A shell command, or a Python block, with the name under which it is saved if there is one."""

    code: str
    kind: str = "command"
    name: str = ""

    @property
    def reason(self) -> str | None:
        """Why it can't be run here."""
        return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, self.code)), None)


def steps(page: Path) -> list[Step]:
    """All commands and Python blocks of a page, in order."""
    found: list[Step] = []
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    before = ""
    for line in lines:
        if line.startswith("```"):
            language, block = line.strip("`"), []
            assert language in FENCES, f"{named(page)}: a block is one of {FENCES}, not {language!r}"
            for inside in lines:
                if inside.startswith("```"):
                    break
                block.append(inside)
            if language == "console":
                found += [command(each[2:], iter(())) for each in block if each.startswith("$ ")]
            elif language == "python":
                found.append(Step("\n".join(block), "python"))
        elif line.startswith("    ") and not (before and not before.startswith("    ")):
            found.append(command(line.strip(), lines))
        elif (saved := re.match(r"Saved as `([\w.]+\.py)`", line)) is not None:
            found[-1] = Step(found[-1].code, "python", saved[1])
        before = line
    return found


def command(line: str, lines: Iterator[str]) -> Step:
    """A command joined with its continuation lines, without the comment after it."""
    while line.endswith("\\"):
        line = line[:-1] + next(lines).strip()
    return Step(re.sub(r"\s+# .*", "", line))


ALL = {page: steps(page) for page in PAGES}
