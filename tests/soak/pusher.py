"""A build host in small: it pushes what is planned, and each push again until it is told 201."""

import logging
import shutil
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread

from tests.rig.images import Layout
from tests.soak.builder import Builder, RefusedError
from tests.soak.plan import Push, pushes

_log = logging.getLogger(__name__)
_RETRY = 0.3
_TRIES = 300
_WORDS = 300


class Pusher(Thread):
    """Pushes until `stop`; `failure` is what no client should ever see."""

    def __init__(self, number: int, seed: int, builder: Builder, directory: Path, stop: Event) -> None:
        super().__init__(name=f"pusher {number}")
        self.failure: Exception | None = None
        self.acknowledged = 0
        """How many of its pushes."""
        self._plan = pushes(seed, number)
        self._builder = builder
        self._layout = directory / f"layout-{number}"
        self._over = stop

    def run(self) -> None:
        """Push one after another."""
        try:
            while not self._over.is_set():
                push = next(self._plan)
                self._insist(push)
                self._over.wait(push.pause)
        except (AssertionError, TimeoutError) as error:  # TimeoutError: the daemon hangs
            _log.exception("%s ends", self.name)
            self.failure = error

    def _insist(self, push: Push) -> None:
        layout = push.image.build(self._layout)
        try:
            for _ in range(_TRIES):
                if self._over.is_set() or self._is_acknowledged(push, layout):
                    return
                self._over.wait(_RETRY)
            raise AssertionError(f"never acknowledged: {push}")
        finally:
            shutil.rmtree(self._layout)

    def _is_acknowledged(self, push: Push, layout: Layout) -> bool:
        try:
            self._builder.push(push, layout)
        except TimeoutError:
            raise
        except (RefusedError, OSError, HTTPException, RuntimeError) as error:
            _log.info("%s: %s:%s: %s", self.name, push.repository, push.tag, repr(error)[-_WORDS:])
            return False
        self.acknowledged += 1
        return True
