"""The events list: what happened, also when no endpoint took it."""

from __future__ import annotations

from fnmatch import fnmatchcase

from sandbox.stripe.call import Call, Params
from sandbox.stripe.errors import InvalidRequest, Object
from sandbox.stripe.listing import one_of, page


def listed(call: Call, params: Params) -> Object:
    """List events by type (`charge.*` too), time, and whether they were delivered."""
    if "type" in params and "types" in params:
        raise InvalidRequest("You may pass either `type` or `types`, but not both.", param="type")
    kinds = params.get("types") or ([params["type"]] if "type" in params else [])
    is_delivered = params.get("delivery_success")

    def fits(event: Object) -> bool:
        if is_delivered is not None and bool(event["pending_webhooks"]) is is_delivered:
            return False
        return not kinds or any(fnmatchcase(event["type"], kind) for kind in kinds)

    return page(call.book, "event", params, url="/v1/events", fits=fits)


retrieve = one_of("event")
