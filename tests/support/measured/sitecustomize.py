"""Lets coverage see the requests that granian serves; on the path of live servers only while coverage is measured.

granian calls the application from threads that Rust made. Python's tracing is per thread and is handed on by
`threading`, which never saw those threads, so that they would run unmeasured.
"""

import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WATCHED = "granian.wsgi"


def traced(application: Callable[..., Any]) -> Callable[..., Any]:
    """The application, traced in whichever thread calls it."""

    def call(*arguments: Any) -> Any:
        hook = threading.gettrace()
        if hook is not None and sys.gettrace() is None:
            sys.settrace(hook)
        return application(*arguments)

    return call


def wrap(module: ModuleType) -> None:
    """Make granian's way to an application lead through `traced`."""
    original = module._callback_wrapper
    module._callback_wrapper = lambda callback, *rest: original(traced(callback), *rest)  # type: ignore[attr-defined]


class Watch:
    """Waits for granian's module, so that other commands need not import it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the module as usual and change it once it has run."""
        if name != WATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_wrap(module: ModuleType) -> None:
                execute(module)
                wrap(module)

            spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Watch())
