"""The credit tests are worth something: every mistake in ``tests/mutants.py`` makes one of them fail."""

import subprocess
import sys

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant, as_it_is


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.mistake)
def test_a_mutant_is_one_exact_change_that_compiles(mutant: Mutant) -> None:
    changed = mutant.changed()
    assert changed != as_it_is(changed.module)
    compile(changed.source, changed.module, "exec")


def test_no_two_mutants_are_the_same() -> None:
    assert len({mutant.changed() for mutant in MUTANTS}) == len({mutant.mistake for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.timeout(1_800)
def test_every_mutant_is_killed_and_the_original_passes() -> None:
    # Forks, so in a process without threads of anybody else's.
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(MUTANTS) + 1
