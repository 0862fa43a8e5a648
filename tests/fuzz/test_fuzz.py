"""Files that were changed on their way: every reader accepts, refuses in one line, or makes a row of failures.

`make fuzz` runs more cases and writes the table of docs/robustness.md: H2O_FUZZ_CASES is their number, H2O_FUZZ_TABLE
the file of the table, H2O_FUZZ_SEED another seed.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest
from fuzz.mutations import edit_file
from fuzz.sandbox import Outcome, Sandbox
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("H2O_FUZZ_CASES", "640"))
SEED = int(os.environ.get("H2O_FUZZ_SEED", "20231"))
TOTAL = sum(target.share for target in TARGETS.values())

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[Sandbox]:
    box = Sandbox(tmp_path_factory.mktemp("fuzz"))
    yield box
    box.close()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Iterator[Sandbox]:
    box = Sandbox(tmp_path_factory.mktemp("faulty"), "fuzz.faulty", cpu_seconds=1, warm_seconds=1)
    yield box
    box.close()


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, list[Outcome]]]:
    """The outcomes of each target; written as a table where H2O_FUZZ_TABLE asks for it."""
    outcomes: dict[str, list[Outcome]] = {}
    yield outcomes
    if path := os.environ.get("H2O_FUZZ_TABLE"):
        write_table(Path(path), outcomes)


def write_table(path: Path, outcomes: dict[str, list[Outcome]]) -> None:
    """One row a target: cases, what came of them, the longest and the largest."""
    head = ["files", "cases", "accepted", "refused", "row", "fault", "most CPU, s", "most memory, MB"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    everything = [case for cases in outcomes.values() for case in cases]
    for name, cases in [*outcomes.items(), ("all", everything)]:
        kinds = Counter(case.kind for case in cases)
        counts = [str(kinds[kind]) for kind in ("accepted", "refused", "row", "fault")]
        most = [f"{max(case.seconds for case in cases):.1f}", f"{max(case.bytes for case in cases) / 2**20:.0f}"]
        lines.append(" | ".join([name, str(len(cases)), *counts, *most]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"| {line} |\n" for line in lines))


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_end_in_one_line_or_a_row(name: str, sandbox: Sandbox, table) -> None:
    target, folder = TARGETS[name], sandbox.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    target.make(folder)
    files = [
        (str(path.relative_to(folder)), form)
        for pattern, form in target.files
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    ]
    assert len({form for _, form in target.files}) == len({form for _, form in files}), "a pattern found nothing"
    good = {file: (folder / file).read_bytes() for file, _ in files}
    unchanged = sandbox.run(name, files[0][0], good[files[0][0]])
    assert unchanged.kind == "accepted", unchanged.text
    outcomes = table.setdefault(name, [])

    @seed(SEED)
    @settings(
        max_examples=max(10, round(CASES * target.share / TOTAL)),
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        file, form = data.draw(st.sampled_from(files))
        changed = data.draw(edit_file(good[file], form))
        outcome = sandbox.run(name, file, changed)
        outcomes.append(outcome)
        if outcome.kind == "fault":
            kept = sandbox.folder / f"{name}-fault"
            kept.write_bytes(changed)
            pytest.fail(f"{name}: {file} as in {kept}: {outcome.text}", pytrace=False)

    check()
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["refused"] + kinds["row"] > len(outcomes) // 10, f"hardly any case was noticed: {kinds}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "KeyError"),
        ("refuses-in-two-lines", "not one short line"),
        ("refuses-at-length", "not one short line"),
        ("writes-outside", "outside its folder: open"),
        ("makes-a-folder-outside", "outside its folder: os.mkdir"),
        ("starts-a-program", "outside its folder: subprocess.Popen"),
        ("ends-the-process", "the process ended with 7"),
        ("never-ends", "more than 1 s of CPU"),
        ("takes-memory", "MB"),
    ],
)
def test_the_sandbox_notices(faulty: Sandbox, name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "takes-memory":  # 600 MB may cost a busy machine seconds, and being slow is another fault
        monkeypatch.setattr(faulty, "cpu_seconds", 60)
        monkeypatch.setattr(faulty, "warm_seconds", 60)
    (faulty.folder / name).mkdir()
    (faulty.folder / name / "file").write_text("good")
    outcome = faulty.run(name, "file", b"changed")
    assert outcome.kind == "fault" and words in outcome.text, outcome
    assert (faulty.folder / name / "file").read_text() == "good"
    (faulty.folder / "good").mkdir(exist_ok=True)
    (faulty.folder / "good" / "file").touch()
    assert faulty.run("good", "file", b"") == Outcome("refused", "a line of its own", ANY, ANY), "the next case goes on"
