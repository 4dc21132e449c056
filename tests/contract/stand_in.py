"""What either stand-in does on command."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from models import clock
from sandbox.standin.control import Control
from tests.contract.house import Delivery, Loss
from tests.sandbox.webhook_catcher import Catcher


class StandIn:
    """A house's part that arranges losses, time and webhooks at a stand-in of ours."""

    charges_path: ClassVar[str]
    refunds_path: ClassVar[str]
    all_paths: ClassVar[str]
    losses: ClassVar[dict[Loss, dict[str, Any]]]
    is_stand_in = True
    _book: Control
    _catcher: Catcher

    def lose(self, loss: Loss, *, refund: bool = False) -> None:
        self._book.fault(
            path=self.refunds_path if refund else self.charges_path, **self.losses[loss]
        )

    def be_busy(self) -> None:
        self._book.fault("rate_limit", path=self.charges_path, count=None)

    def be_silent(self) -> None:
        self._book.fault("drop_before", method="GET", path=self.all_paths, count=None)

    def be_well(self) -> None:
        self._book.clear_faults()

    def delay_refund(self) -> None:
        self._book.fault("refund_pending", path=self.refunds_path)

    def age(self, hours: float) -> None:
        ahead_s = self._book.advance(int(hours * 3600))["ahead_s"]
        clock.advance_by(lambda: timedelta(seconds=ahead_s))

    def deliveries(self) -> Iterator[Delivery]:
        self._book.wait_quiet()
        return (Delivery(each["body"], each["headers"]) for each in self._catcher.events)
