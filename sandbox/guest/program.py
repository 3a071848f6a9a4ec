"""Inside the program's own process: runs its source as `__main__` and says what came of it.

Everything is bound before the program starts, so that a program which patches modules or builtins breaks or forges nothing
but what it could have printed itself. No expected value is anywhere near.
"""

from __future__ import annotations
import __future__

import ast
import atexit
import builtins
import gc
import linecache
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, ModuleType, TracebackType
from typing import Any, NamedTuple, NoReturn

from sandbox.guest.calls import Line, Proxy, serve, to_json
from sandbox.guest.limits import release_reserve
from sandbox.guest.printing import Recorder
from sandbox.guest.values import clean, encode

FILE_NAME = "program.py"
MAX_DETAIL = 1000
_FUTURES = 0
for _name in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _name).compiler_flag

_exit, _getpid, _write, _getframe = os._exit, os.getpid, os.write, sys._getframe
_settrace, _setprofile, _set_limit = sys.settrace, sys.setprofile, sys.setrecursionlimit
_sigmask, _setitimer = signal.pthread_sigmask, signal.setitimer
_wait_for_threads: Callable[[], None] = threading._shutdown  # type: ignore[attr-defined]
_run_exit_functions: Callable[[], None] = atexit._run_exitfuncs
_format_exception = traceback.format_exception
_default_hook = sys.excepthook
_ALL_SIGNALS = signal.valid_signals() - {signal.SIGXCPU}
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class _Outcome(NamedTuple):
    ending: str
    detail: str


class _Program(NamedTuple):
    source: str
    serves: str | None  # the function to call on request, once the program has run
    proxy: str | None  # the function of another program that this one (a trusted test) checks


def run(request: dict[str, Any], report: int, calls: int | None) -> NoReturn:
    """Run the program in this process, write its report to the descriptor `report` and end the process."""
    own_pid = _getpid()
    program = _Program(request["source"], request.get("serve"), request.get("proxy"))
    line = Line(calls) if calls is not None else None
    recorder = Recorder(sys.stdout)
    builtins.print = recorder.print
    namespace = _fresh_main(program)
    # A script has all of the recursion limit to itself.
    _set_limit(sys.getrecursionlimit() + _depth() + 2)
    values: list[Any] = []  # the last expression's value, and whether print was called meanwhile
    outcome = _outcome(lambda: _execute(program, namespace, recorder, values, line))
    if _getpid() != own_pid:
        _finish()
        _exit(1 if outcome.ending == "raised" else _exit_status(outcome))
    serving = line is not None and program.serves is not None and outcome.ending == "finished"
    if not serving:
        _finish()
        if _getpid() != own_pid:  # an exit handler forked
            _exit(0)
    _send_report(report, outcome, recorder, values)
    if serving and line is not None and program.serves is not None:
        outcome = _outcome(lambda: serve(line, namespace, str(program.serves)))
        if _getpid() != own_pid or outcome.ending != "finished":
            _flush()
            _exit(_exit_status(outcome))
        _flush()
    _exit(0)


def _fresh_main(program: _Program) -> dict[str, Any]:
    # What is called from outside is a module to its caller, so that its main guard does not hold.
    source, name = program.source, "program" if program.serves else "__main__"
    main = ModuleType(name)
    main.__file__ = FILE_NAME
    namespace = vars(main)
    namespace["__builtins__"] = builtins
    namespace["__annotations__"] = {}
    for name in [name for name in sys.modules if name == "sandbox" or name.startswith("sandbox.")]:
        del sys.modules[name]
    sys.modules["__main__"] = sys.modules[name] = main
    sys.argv[:] = [FILE_NAME]
    sys.path.insert(0, os.getcwd())
    linecache.cache[FILE_NAME] = (len(source), None, source.splitlines(keepends=True), FILE_NAME)
    return namespace


def _execute(program: _Program, namespace: dict[str, Any], recorder: Recorder, values: list[Any], line: Line | None) -> None:
    tree = ast.parse(program.source, FILE_NAME)
    last: ast.expr | None = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body.pop().value  # type: ignore[attr-defined]
    code: CodeType = compile(tree, FILE_NAME, "exec", dont_inherit=True)
    tail = None
    if last is not None:
        tail = compile(ast.Expression(last), FILE_NAME, "eval", flags=code.co_flags & _FUTURES, dont_inherit=True)
    del tree, last
    proxy = None
    if program.proxy is not None and line is not None:
        proxy = namespace[program.proxy] = Proxy(program.proxy, line)
    exec(code, namespace)  # noqa: S102 (this is the box)
    if tail is not None:
        before = recorder.count
        value = eval(tail, namespace)  # noqa: S307 (this is the box)
        values.append(value)
        values.append(recorder.count != before)
    if proxy is not None:
        namespace[proxy.__name__] = proxy
        namespace["check"](proxy)


def _outcome(action: Callable[[], None]) -> _Outcome:
    try:
        action()
    except SystemExit as stop:
        _settrace(None)
        _setprofile(None)
        return _Outcome("exited", f"exit status {_status_of(stop)}")
    except BaseException as error:  # whatever it is, it ended the program
        _settrace(None)
        _setprofile(None)
        release_reserve()
        error.__traceback__ = _own_frames(error.__traceback__)
        detail = _describe(error)
        _show(error)
        return _Outcome("memory" if isinstance(error, MemoryError) else "raised", detail)
    _settrace(None)
    _setprofile(None)
    return _Outcome("finished", "")


def _status_of(stop: SystemExit) -> int:
    code = stop.code
    if code is None:
        return 0
    if isinstance(code, int):
        return int.__int__(code) & 0xFF
    _guard(lambda: (sys.stderr.write(f"{code}\n"), sys.stderr.flush()))
    return 1


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Without the frames of this module, as if the program had been started by itself."""
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    return trace


def _describe(error: BaseException) -> str:
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    text = ""
    try:
        if isinstance(error, SyntaxError):
            text, line = str(error.msg), error.lineno or line
        else:
            text = str(error)
    except BaseException:  # the exception's own code may raise anything
        text = "<no text>"
    name = type(error).__name__
    detail = f"{name}: {text[:MAX_DETAIL]}" if text else name
    return clean(f"{detail} (line {line})" if line else detail)


def _show(error: BaseException) -> None:
    """As the interpreter does for an exception that nobody caught."""

    def show() -> None:
        hook = sys.excepthook
        if hook is _default_hook:
            _guard(sys.stdout.flush)
            sys.stderr.write("".join(_format_exception(error)))
        else:
            hook(type(error), error, error.__traceback__)
        sys.stderr.flush()

    _guard(show)


def _guard(action: Callable[[], Any]) -> None:
    """An interpreter that shuts down carries on after errors, and so do we."""
    with suppress(BaseException):
        action()


def _finish() -> None:
    """What an interpreter does after the last statement."""
    _guard(_wait_for_threads)
    _guard(_run_exit_functions)
    _flush()


def _flush() -> None:
    for stream in ("stdout", "stderr"):
        _guard(lambda name=stream: getattr(sys, name).flush())  # type: ignore[misc]


def _exit_status(outcome: _Outcome) -> int:
    if outcome.ending == "exited":
        return int(outcome.detail.rpartition(" ")[2])
    return 0 if outcome.ending == "finished" else 1


def _depth() -> int:
    depth, frame = 0, _getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    return depth


def _send_report(report: int, outcome: _Outcome, recorder: Recorder, values: list[Any]) -> None:
    # A timer or handler the program left running must not cut the report short.
    _sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    for timer in _TIMERS:
        _setitimer(timer, 0)
    gc.disable()
    _set_limit(100_000)
    printed = recorder.count  # before anything is converted: that may run code of the program, which may print
    fields: dict[str, Any] = {
        "ending": outcome.ending,
        "detail": outcome.detail,
        "print_count": printed,
        "last_print": recorder.last(),
    }
    if values:
        fields["last_expression"] = encode(values[0], conversions=True)
        fields["printed_in_last_expression"] = values[1]
    data = memoryview(to_json(fields) + b"\n")
    while data:
        data = data[_write(report, data) :]
