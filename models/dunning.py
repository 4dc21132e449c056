p='models/disputes.py'
s=open(p).read()
s=s.replace('''_CLOSED = frozenset({DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.PREVENTED})
''','''# Evidence is asked for, by a date.
NEEDING_RESPONSE = (DisputeStatus.WARNING_NEEDS_RESPONSE, DisputeStatus.NEEDS_RESPONSE)

_CLOSED = frozenset({DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.PREVENTED})
# True whenever it is heard, whatever has been heard since.
CLOSED_DISPUTE = _CLOSED | {DisputeStatus.WARNING_CLOSED}
''')
s=s.replace('''    due_told_at: Mapped[datetime | None]  # when somebody was told that the evidence is due soon
''','''    due_told_at: Mapped[datetime | None]  # when somebody was told that the evidence is due soon

    @property
    def money(self) -> Money:
        """Return what is disputed."""
        return Money(self.amount, self.currency)
''')
s=s.replace('''from models.base import CURRENCY, PROVIDER_ID, Changing, CompanyOwned, words
''','''from models.base import CURRENCY, PROVIDER_ID, Changing, CompanyOwned, words
from models.money import Money
''')
open(p,'w').write(s)
p='worker/queues.py'
s=open(p).read()
s=s.replace('''    "refunds",
''','''    "refunds",
    "disputes",
''',1)
open(p,'w').write(s)
p='Procfile'
s=open(p).read()
s=s.replace("payments,lookups,refunds,methods","payments,lookups,refunds,disputes,methods")
open(p,'w').write(s)
p='schedules/beat.py'
s=open(p).read()
s=s.replace('''EXPIRY_EVERY_S = 3600.0
''','''EXPIRY_EVERY_S = 3600.0
DISPUTES_EVERY_S = 900.0
''',1)
s=s.replace('''        "methods.watch_expiry": EXPIRY_EVERY_S,
''','''        "methods.watch_expiry": EXPIRY_EVERY_S,
        "disputes.remind": DISPUTES_EVERY_S,
''',1)
open(p,'w').write(s)
p='models/webhooks.py'
s=open(p).read()
s=s.replace('''            "refund.failed",
        }''','''            "refund.failed",
            "charge.dispute.created",
            "charge.dispute.updated",
            "charge.dispute.closed",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.funds_reinstated",
        }''',1)
open(p,'w').write(s)
