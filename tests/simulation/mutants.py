"""Bugs put into the money code one at a time: do the histories find each?

    python -m tests.simulation.mutants [name ...] [--histories 100]

Each is one text replaced in a copy of the tree, in which histories run until one breaks. Run by
hand, after the histories or the money code have changed: it says which bug no history shows, and
which no longer fits the code. Ends with 1 if any of either.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.places import ROOT
from tests.servers import Servers
from tests.simulation.chaos import say

NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache", "*.egg-info")
BROKEN = re.compile(r"^(\d+) of \d+ histories, (\d+) broken", re.MULTILINE)
BATCH = 5


@dataclass(frozen=True)
class Mutant:
    """A bug: `old` becomes `new` in the file at `path`."""

    name: str
    path: str
    old: str
    new: str


# Not among them, for another guard holds what it would break:
# a refund's events believed in whatever order they come: its moves
# (Refund.MOVES) lead nowhere back; tests/tasks/test_refund_rules.py holds that it is asked.
# a refund sent of what is disputed: the providers refuse it.
# a look-up that does not wait for a lease: what two callers do at once is safe
# without, by the attempt's one key and the look that follows a late answer (lookups.recheck), as
# `freeze` shows with every process that stands still for longer than its lease.
MUTANTS = (
    Mutant(
        "a new key after an unknown outcome",
        "tasks/lookups.py",
        "        return charge_alone(gateway, unknown.claim)\n",
        "        again = replace(unknown.claim.request, key=f'{unknown.claim.request.key}-again')\n"
        "        return charge_alone(gateway, replace(unknown.claim, request=again))\n",
    ),
    Mutant(
        "sent again past the life of its key",
        "tasks/lookups.py",
        "    if is_key_alive:\n        return _send_again",
        "    if True:\n        return _send_again",
    ),
    Mutant(
        "an unknown outcome taken for a failure",
        "tasks/payments.py",
        "        elif isinstance(outcome, OutcomeUnknown):\n"
        "            leave_unknown(session, payment, attempt, outcome, debt)\n        else:\n",
        "        else:\n",
    ),
    Mutant(
        "an earlier intent left open when it is charged anew",
        "tasks/payments.py",
        "    for earlier in claim.superseded:\n",
        "    for earlier in claim.superseded[:0]:\n",
    ),
    Mutant(
        "the debt ended before the answer is recorded",
        "tasks/payments.py",
        '    crash.point("charge.called")\n',
        '    in_transaction(debt.end, debt.company_id)\n    crash.point("charge.called")\n',
    ),
    Mutant(
        "charged though the invoice is paid otherwise",
        "tasks/claims.py",
        "return dunning.in_the_way(invoice) is None and payment.amount <= invoice.due.amount",
        "return bool(invoice.id)",
    ),
    Mutant(
        "a payment not locked at its refund",
        "web/api/refunds.py",
        "    payment = transactions.lock(session, transaction_id)\n",
        "    payment = session.get(Transaction, transaction_id)\n",
    ),
    Mutant(
        "a refund sent again unseen, under a new key",
        "tasks/refunds.py",
        'key=f"refund-{refund.id}"',
        'key=f"refund-{debt.id}"',
    ),
    Mutant(
        "a refund sent again without a look",
        "tasks/refunds.py",
        "        if claim.called_before:\n",
        "        if False:\n",
    ),
    Mutant(
        "a refund that failed afterwards not booked back",
        "tasks/refunds.py",
        "        if had_succeeded:\n",
        "        if False:\n",
    ),
    Mutant(
        "the ladder climbs on a hard decline",
        "tasks/declines.py",
        "        return error.advice\n",
        "        return Advice.RETRY if error.advice is Advice.STOP else error.advice\n",
    ),
    Mutant(
        "an earlier attempt's intent told as the payment's",
        "tasks/settlement.py",
        "    return any(each.status != AttemptStatus.REJECTED for each in later)\n",
        "    return False\n",
    ),
    Mutant(
        "a success booked twice",
        "tasks/settlement.py",
        "    if payment.is_settled or not payment.move_if_allowed(\n"
        '        Status.SUCCEEDED, because=cause.but(f"captured {captured}")\n'
        "    ):\n        return\n",
        "    payment.move_if_allowed(Status.SUCCEEDED, because=cause)\n",
    ),
    Mutant(
        "an event handled each time that it comes",
        "tasks/webhooks.py",
        "    if event.status in DONE:\n        return\n    if not event",
        "    if not event",
    ),
    Mutant(
        "lost events not fetched",
        "tasks/missed.py",
        "    for provider in HANDLED:\n",
        "    for provider in list(HANDLED)[:0]:\n",
    ),
    Mutant(
        "a declined order captured again unasked",
        "tasks/captures.py",
        "    if attempt.finished_at is None:\n        return False\n",
        "    if True:\n        return False\n",
    ),
    Mutant(
        "captured beside a payment under way",
        "tasks/captures.py",
        "    if other in (None, payment.id) and (\n",
        "    if True or (\n",
    ),
)


def main() -> int:
    """Run the mutants that are named, or all."""
    asked = _options()
    chosen = [each for each in MUTANTS if not asked.names or each.name in asked.names]
    servers = Servers()
    urls = servers.urls()
    environ = {"DATABASE_URL": urls.database, "REDIS_URL": urls.redis, "BROKER_URL": urls.broker}
    unseen = 0
    try:
        for mutant in chosen:
            told = _hunt(mutant, asked.histories, os.environ | environ)
            unseen += not told.startswith("found")
            say(f"{mutant.name}: {told}")
    finally:
        servers.stop()
    say(f"{len(chosen) - unseen} of {len(chosen)} found")
    return 1 if unseen else 0


def _hunt(mutant: Mutant, histories: int, environ: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        path = copy / mutant.path
        code = path.read_text()
        if code.count(mutant.old) != 1:
            return "it does not fit the code any more"
        path.write_text(code.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "tests.simulation.chaos", "--processes", "1"]
        command += ["--histories", str(histories), "--batch", str(BATCH), "--until-broken"]
        ran = subprocess.run(
            command, cwd=copy, env=environ, capture_output=True, text=True, check=False
        )
        return _outcome(ran)


def _outcome(ran: subprocess.CompletedProcess[str]) -> str:
    counts = BROKEN.findall(ran.stdout)
    if not counts:
        return f"nothing ran: {ran.stderr[-2000:]}"
    number, broken = counts[-1]
    if not int(broken):
        return f"not seen in {number} histories"
    why = ran.stdout.partition("\nseed ")[2].partition(f"\n{number} of ")[0].strip()
    return f"found within {number} histories: {why.splitlines()[-1][:200]}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("names", nargs="*", choices=[[], *(each.name for each in MUTANTS)])
    parser.add_argument("--histories", type=int, default=100, help="at most, for each")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
