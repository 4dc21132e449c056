"""Answers what dj-stripe fetches from Stripe's API when it handles a payment's event at once.

python -m benchmarks.peers.stripe_api <port>
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.load import CARD, INTENT

CREATED = {"created": 1795000000, "livemode": False, "metadata": {}}
BALANCE = {
    "id": "txn_3PbenchmarkBenchmark",
    "object": "balance_transaction",
    "amount": 249900,
    "available_on": 1795000000,
    "currency": "inr",
    "fee": 5000,
    "fee_details": [],
    "net": 244900,
    "source": "ch_3PbenchmarkBenchmark",
    "status": "available",
    "type": "charge",
}
CUSTOMER = {
    "id": "cus_Qbenchmark",
    "object": "customer",
    "email": "billing@example.com",
    "delinquent": False,
}
METHOD = {
    "id": "pm_1Pbenchmark",
    "object": "payment_method",
    "type": "card",
    "card": CARD,
    "customer": "cus_Qbenchmark",
    "billing_details": {},
}
CHARGE = {
    **INTENT["charges"]["data"][0],
    "customer": "cus_Qbenchmark",
    "payment_intent": INTENT["id"],
    "payment_method": "pm_1Pbenchmark",
    "amount_captured": 249900,
    "amount_refunded": 0,
    "refunded": False,
    "disputed": False,
}
OBJECTS: dict[str, dict[str, Any]] = {
    "payment_intents": INTENT,
    "balance_transactions": BALANCE,
    "customers": CUSTOMER,
    "payment_methods": METHOD,
    "charges": CHARGE,
}


class Answers(BaseHTTPRequestHandler):
    """Answers a GET of one object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer from the table."""
        kind = self.path.partition("?")[0].split("/")[2]
        found = OBJECTS.get(kind)
        whole = {**CREATED, **found} if found else {"object": "list", "data": [], "has_more": False}
        body = json.dumps(whole).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
