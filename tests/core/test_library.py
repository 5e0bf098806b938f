"""The package as a library: what the README shows runs, and importing it costs little."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import neurontune_core

README = Path(__file__).parents[2] / "README.md"
BLOCKED = "import sys\nfor name in ('prefect', 'mlflow', 'tasks', 'flows'):\n    sys.modules[name] = None\n"


def test_the_readme_example_runs_without_prefect_and_mlflow(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 16
    quick = code.replace('"smollm2", ["scaling.steps=20"]', '"tiny", []')
    assert quick != code
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + quick], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torchao" not in done.stderr and "_pytree" not in done.stderr  # transformers imports torchao, which warns
    base, tuned = done.stdout.splitlines()
    assert base.startswith("base  [") and tuned.startswith("tuned [")
    assert base.split(" ", 2)[2] != tuned.split(" ", 1)[1]


def test_every_name_is_there_and_documented():
    assert sorted(neurontune_core._ROOM) == sorted(neurontune_core.__all__)
    for name in neurontune_core.__all__:
        thing = getattr(neurontune_core, name)
        assert thing.__doc__
        if inspect.isclass(thing):
            continue
        for parameter in inspect.signature(thing).parameters:
            assert f"\n        {parameter}: " in thing.__doc__, f"{name} does not say what {parameter} is"


def test_the_import_is_light():
    code = "import sys, neurontune_core; assert not {'torch', 'transformers', 'pandas', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
