"""The agent as the FNAP server sees it: one table from commands to use cases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.logger import Logger

from eson.agent.gaps import Gaps
from eson.agent.reading import Reader, Reading
from eson.agent.reconciler import Reconciler
from eson.agent.tasks import Tasks
from eson.agent.writing import Writer, Writing
from eson.errors import BackendFailed, Busy, NotAvailableNow, NotOffered, TryLater
from eson.fnap.core.commands import AgentCommand, Read, Write
from eson.fnap.core.replies import Outcome
from eson.model.principals import Caller

UseCase = Callable[[Caller, Any], Awaitable[Outcome]]

_log = Logger()


class Agent:
    """An `AgentService`.  Between `start` and `stop` it also keeps things as they should be."""

    def __init__(
        self,
        use_cases: Mapping[type[Any], UseCase],
        reading: Reading,
        writing: Writing,
        reconciler: Reconciler,
        tasks: Tasks,
        gaps: Gaps,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        self._use_cases = use_cases
        self._reading = reading
        self._writing = writing
        self._reconciler = reconciler
        self._tasks = tasks
        self._gaps = gaps
        self._prepare = prepare
        self._stopping = False

    async def execute(self, caller: Caller, command: AgentCommand) -> Outcome:
        """Goes on to its end even if whoever asked does not wait for it any more.  Raises `EsonError`."""
        self._running()
        use_case = self._use_cases.get(type(command))
        if use_case is None:
            raise NotOffered(f"Not offered here: {type(command).__name__}")
        try:
            return await self._tasks.run(_begun(use_case(caller, command)))
        except Busy:
            raise
        except TryLater as error:
            self._reconciler.soon(whole=isinstance(error, BackendFailed))
            raise

    async def open_reader(self, caller: Caller, command: Read) -> Reader:
        self._running()
        return await self._reading.open(caller, command)

    async def open_writer(self, caller: Caller, command: Write) -> Writer:
        self._running()
        return await self._writing.open(caller, command)

    def _running(self) -> None:
        if self._stopping:
            raise NotAvailableNow("The agent is shutting down")

    async def start(self) -> None:
        """After store, brokers, names and processors were started, before anything listens.

        What DNS should say is published when it returns; everything else is mended in the background.
        """
        await self._prepare()
        self._reconciler.start()

    async def stop(self) -> None:
        """Begins nothing new and waits for what is under way; before the ports are stopped."""
        self._stopping = True
        self._reconciler.stop()
        await self._tasks.stop()

    def missing(self, processor: str) -> int | None:
        """Records that its sources lost since it was created; None while none was seen."""
        return self._gaps.missing(processor)

    async def reconcile(self, whole: bool = True) -> bool:
        """One pass now; whether nothing is left to be done."""
        return await self._reconciler.run(whole)


async def _begun(work: Awaitable[Outcome]) -> Outcome:
    return await work
