"""Trusted tests: the test in one box, the function in another, data between them."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import Ending, Tests

RIGHT = "def double(x):\n    return 2 * x\n"


def check(body: str, entry_point: str = "double") -> Tests:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return Tests(f"def check(candidate):\n{lines}", entry_point)


def test_a_right_function_passes(box: Any) -> None:
    execution = box.run(RIGHT, tests=check("assert candidate(2) == 4\nassert double('a') == 'aa'"))
    assert execution.ending is Ending.FINISHED
    assert (execution.tested.passed, execution.tested.detail) == (True, "")


def test_a_wrong_function_fails_with_the_tests_own_words(box: Any) -> None:
    execution = box.run(RIGHT, tests=check("assert candidate(2) == 5, 'not five'"))
    assert execution.ending is Ending.FINISHED
    assert (execution.tested.passed, execution.tested.detail) == (False, "AssertionError: not five (line 2)")


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "def double(x):\n    raise SystemExit(0)",
        "def double(x):\n    import os\n    os._exit(0)",
        "def double(x):\n    import os\n    os.execv('/bin/true', ['true'])",
        'def double(x):\n    import os\n    os.write(701, b\'{"return": 4}\\n{"return": 4}\\n\')\n'
        "    os.write(700, b'{\"ending\": 1}')\n    return 0",
        'def double(x):\n    import os\n    os.write(701, b\'\\n{"execution": {"ending": "finished"}}\\n\')\n    os._exit(0)',
        "class All:\n    __eq__ = lambda *a: True\ndef double(x):\n    return All()",
        "class All(int):\n    __eq__ = lambda *a: True\ndef double(x):\n    return All(7)",
        "import builtins, sys\nbuiltins.check = sys.modules['__main__'].check = lambda c: None\ndef double(x): return 7",
        "double = None",
        "x = 1",
        "def double(x):\n    while True: pass",
        "def double(x):\n    return map(str, 'a')",
    ],
)
def test_what_is_not_an_answer_never_passes(box: Any, source: str) -> None:
    execution = box.run(source, tests=check("for _ in range(3):\n    assert candidate(2) == 4"), cpu_seconds=1.0)
    assert not execution.tested.passed
    assert box.run(RIGHT, tests=check("assert candidate(2) == 4")).tested.passed


def test_the_test_is_nowhere_near_the_program(box: Any) -> None:
    execution = box.run(
        "import gc, sys\ndef double(x):\n    word = ''.join(['dr', 'ow', 'terces'])[::-1]\n"
        "    texts = [repr(o)[:5000] for o in gc.get_objects() if type(o) in (str, list, dict, tuple)]\n"
        "    return 2 * x + sum(word in text for text in texts)",
        tests=check("secretword = 4\nassert candidate(2) == secretword"),
    )
    assert execution.tested.passed


def test_changes_to_mutable_arguments_cross_back(box: Any) -> None:
    execution = box.run(
        "def double(x, d=None):\n    x[0].append(9)\n    x.append(1)\n    d['k'] = {2}\n",
        tests=check(
            "inner = [1]\nx = [inner]\nd = {}\nassert candidate(x, d=d) is None\n"
            "assert x == [[1, 9], 1] and inner == [1, 9] and d == {'k': {2}}"
        ),
    )
    assert execution.tested.passed, execution.tested


def test_exceptions_cross_as_the_builtin_of_that_name(box: Any) -> None:
    execution = box.run(
        "class Mine(ValueError): pass\nclass Other(Exception): pass\ndef double(x):\n    raise (Mine if x else Other)('why')\n",
        tests=check(
            "try: candidate(1)\nexcept ValueError as e: assert str(e) == 'why'\nelse: assert False\n"
            "try: candidate(0)\nexcept Exception as e: assert type(e) is Exception\nelse: assert False"
        ),
    )
    assert execution.tested.passed, execution.tested


def test_values_keep_their_meaning(box: Any) -> None:
    execution = box.run(
        "def double(x):\n    return x\n",
        tests=check(
            "for v in [(1, 2), [1, 2], {1, 2}, {1: (2,)}, 1.5, True, None, b'x', 10**30, 'ä', [], {'tuple': [1]}, 2j]:\n"
            "    r = candidate(v)\n    assert r == v and type(r) is type(v), (r, v)\n"
            "n = candidate(float('nan'))\nassert n != n"
        ),
    )
    assert execution.tested.passed, execution.tested


def test_numpy_scalars_come_back_as_numbers(box: Any) -> None:
    execution = box.run(
        "import numpy as np\ndef double(x):\n    return np.int64(x)", tests=check("assert type(candidate(3)) is int")
    )
    assert execution.tested.passed, execution.tested


def test_a_thousand_calls_are_fine(box: Any) -> None:
    assert box.run(RIGHT, tests=check("for i in range(1000):\n    assert candidate(i) == 2 * i")).tested.passed


def test_deeply_linked_arguments_cross(box: Any) -> None:
    execution = box.run(
        "def double(chain):\n    n = 0\n    while chain: n, chain = n + 1, chain[1]\n    return n",
        tests=check("c = None\nfor i in range(3000): c = (i, c)\nassert candidate(c) == 3000"),
    )
    assert execution.tested.passed, execution.tested


def test_helpers_in_the_tests_source_work_and_a_main_guard_does_not_run(box: Any) -> None:
    tests = Tests("def helper(x):\n    return x + x\ndef check(candidate):\n    assert candidate(3) == helper(3)\n", "double")
    assert box.run(RIGHT + "if __name__ == '__main__':\n    import sys\n    sys.exit(1)\n", tests=tests).tested.passed


def test_a_test_that_never_ends_is_a_timeout(box: Any) -> None:
    execution = box.run(RIGHT, tests=check("while True: pass"), cpu_seconds=1.0)
    assert (execution.ending, execution.tested.passed) == (Ending.TIMED_OUT, False)
