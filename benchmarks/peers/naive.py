"""The usual design: the SDK checks and builds the event, the ORM stores it, Celery is told."""

from __future__ import annotations

import os
from typing import Any

import stripe
from celery import Celery
from flask import Flask, Response, jsonify, request
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.webhooks import PaymentWebhook

app = Flask(__name__)
engine = create_engine(os.environ["DATABASE_URL"], pool_size=64, pool_pre_ping=True)
celery = Celery("naive", broker=os.environ["BROKER_URL"])
celery.conf.task_default_queue = "naive"


@celery.task(name="naive.handle", ignore_result=True)
def handle(event_id: str) -> None:
    """Stand for the work; nobody runs it here."""


@app.post("/naive")
def receive() -> Response | tuple[Response, int]:
    try:
        event: Any = stripe.Webhook.construct_event(
            request.get_data(),
            request.headers.get("Stripe-Signature", ""),
            os.environ["STRIPE_WEBHOOK_KEY"],
        )
    except (ValueError, stripe.SignatureVerificationError):
        return jsonify(error="invalid"), 400
    with Session(engine) as session:
        row = PaymentWebhook(
            provider="stripe",
            account="",
            provider_event_id=event["id"],
            event_type=event["type"],
            payload=event.to_dict(),
            headers=dict(request.headers),
        )
        session.add(row)
        try:
            session.commit()
        except IntegrityError:
            return jsonify(received=True)
        handle.apply_async((str(row.id),))
    return jsonify(received=True)
