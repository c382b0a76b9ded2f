"""Tasks with an owner, a name and an end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Owns asyncio tasks: every one is named, its failure is reported once, `close` ends all in reverse order."""

    def __init__(self, name: str, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        """`on_failure(task_name, error)` hears of every task that ends with an exception."""
        self._name = name
        self._on_failure = on_failure
        self._tasks: list[asyncio.Task[Any]] = []

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Start `coroutine` under `<owner>.<name>`."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}.{name}")
        self._tasks.append(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task in self._tasks:
            self._tasks.remove(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if self._on_failure is None:
            loop = task.get_loop()
            loop.call_exception_handler({"message": f"task {task.get_name()} failed", "exception": error})
        else:
            self._on_failure(task.get_name(), error)

    def __len__(self) -> int:
        return len(self._tasks)

    async def close(self) -> None:
        """Cancel what still runs, the youngest first, and wait for each."""
        for task in reversed(self._tasks.copy()):
            task.cancel()
            await asyncio.wait([task])
