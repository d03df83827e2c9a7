"""Every example runs as it stands."""

import re

import fresh
import pytest

EXAMPLES = sorted(path.name for path in (fresh.ROOT / "examples").glob("*.py"))


def test_there_are_examples():
    assert "digits.py" in EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("options", [[], ["--backend", "array_api_strict"]], ids=" ".join)
def test_the_example_trains_and_prints_its_score(name, options, tmp_path):
    script = str(fresh.ROOT / "examples" / name)
    status, out, err = fresh.run(script, "--epochs", "2", *options, cwd=tmp_path)
    assert status == 0, err
    found = re.fullmatch(r"accuracy ([01]\.\d{4}) on 359 test rows\n", out)
    assert float(found[1]) > 0.5  # two epochs are far from done, and far from the chance of 0.1
    assert len(err.splitlines()) == 2, err
