"""End the process soon after an interrupt, even while compiled code runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

INTERRUPTED = 130
"""Exit status of a process that was interrupted."""
NOTHING_WRITTEN = "ctdc: interrupted; nothing was written"
PATIENCE = 3.0
"""Seconds that compiled code has to end after an interrupt."""
SHOW_CURSOR = "\x1b[?25h"


_heard = threading.Event()


def listen() -> None:
    """Let SIGTERM end this process as Ctrl-C does, and remember that either came.

    Python drops the exception where it cannot raise it: in callbacks of compiled code and while objects are freed. A SIGINT that
    is ignored, as in the background of a shell, stays ignored.
    """
    signal.signal(signal.SIGTERM, _hear)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _hear)


def was_heard() -> bool:
    """Return whether an interrupt came since `listen`, even if Python dropped its exception."""
    return _heard.is_set()


def _hear(*_: object) -> None:
    _heard.set()
    raise KeyboardInterrupt


def say_nothing_was_written() -> None:
    """Tell the person at the terminal that nothing was written."""
    os.write(2, f"{SHOW_CURSOR if sys.stderr.isatty() else ''}\n{NOTHING_WRITTEN}\n".encode())


@contextmanager
def ends_soon(at_the_end: Callable[[], None] = say_nothing_was_written) -> Generator[None]:
    """End the process soon after an interrupt, even if compiled code inside the block runs on and lets none through.

    Then unfinished files are removed and ``at_the_end`` is called, both in another thread. A block that outlives an interrupt
    because its exception was dropped ends with KeyboardInterrupt. A thread other than the main one hears no signals, so that
    there nothing is watched.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if was_heard():
        raise KeyboardInterrupt
    from ctdc_pipeline.storage.files import remove_unfinished  # loads libraries that ``--help`` does not need

    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    finished = threading.Event()
    interrupted = threading.Event()

    def watch() -> None:
        """Wait for a signal, which Python writes down at once whatever runs, or for the end of the block."""
        while (number := os.read(heard, 1)) and number[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        if not number:
            return
        interrupted.set()
        if not finished.wait(PATIENCE):
            for last in (remove_unfinished, at_the_end):
                with suppress(Exception):
                    last()
            os._exit(INTERRUPTED)

    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        signal.set_wakeup_fd(before)
        os.close(tell)
        watcher.join()
        os.close(heard)
    if interrupted.is_set() or was_heard():
        raise KeyboardInterrupt
