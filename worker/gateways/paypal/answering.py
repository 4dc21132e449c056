"""What the gateway does about disputes: looks them up, answers them, gives them up."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import orjson
from urllib3 import encode_multipart_formdata

from worker.gateways.base import DisputeAnswer, Rejected
from worker.gateways.paypal.api import Api, read, write
from worker.gateways.paypal.disputes import dispute_of, evidence_of

DISPUTES = "/v1/customer/disputes"


def retrieve(api: Api, dispute_id: str) -> DisputeAnswer:
    """Look a dispute up."""
    return read("disputes.get", lambda: api.get(_path(dispute_id)), dispute_of)


def submit(
    api: Api, dispute_id: str, evidence: Mapping[str, str], *, submit: bool, action_id: str
) -> DisputeAnswer:
    """Provide evidence, which PayPal takes once and for all: it keeps no drafts."""
    if not submit:
        raise Rejected(message="PayPal keeps no drafts: submit it", code="no_drafts")
    try:
        told = evidence_of(evidence, action_id)
    except ValueError as error:
        raise Rejected(message=str(error), code="no_files") from None
    _tell(api, "disputes.provide_evidence", f"{dispute_id}/provide-evidence", {"evidences": told})
    return retrieve(api, dispute_id)


def accept(api: Api, dispute_id: str) -> DisputeAnswer:
    """Give a dispute up: the payer gets the money."""
    note = {"note": "The claim is accepted.", "accept_claim_type": "REFUND"}
    _tell(api, "disputes.accept_claim", f"{dispute_id}/accept-claim", note)
    return retrieve(api, dispute_id)


def _tell(api: Api, name: str, path: str, told: object) -> None:
    """Send a form with one part, `input`, as both calls take it beside files."""
    part = {"input": ("input.json", orjson.dumps(told), "application/json")}
    body, kind = encode_multipart_formdata(part)
    dispute_id, _, deed = path.rpartition("/")
    write(
        name,
        lambda: api.post(f"{_path(dispute_id)}/{deed}", content=(kind, body)),
        lambda _, __: None,
    )


def _path(dispute_id: str) -> str:
    return f"{DISPUTES}/{quote(dispute_id, safe='')}"
