"""Beat rings every entry when it starts, however long the entry's interval."""

from __future__ import annotations

import pytest
from celery.beat import Scheduler

from worker.app import app


class Heard(Scheduler):
    """A beat whose rings are heard here and go nowhere."""

    def __init__(self, *args, **options):
        self.rung = []
        super().__init__(*args, **options)

    def apply_entry(self, entry, producer=None):
        self.rung.append(entry.name)


@pytest.fixture
def beat(database):
    return Heard(app, lazy=False, max_interval=1)


def test_a_beat_that_starts_rings_every_entry_and_then_by_its_interval(beat):
    entries = set(app.conf.beat_schedule)
    for _ in range(20 * len(entries)):
        if set(beat.rung) == entries:
            break
        beat.tick()
    assert set(beat.rung) == entries
    hourly = [name for name, each in app.conf.beat_schedule.items() if each["schedule"] >= 3600]
    assert hourly
    assert [beat.rung.count(name) for name in hourly] == [1] * len(hourly)
    assert not any(beat.schedule[name].is_due().is_due for name in hourly)
