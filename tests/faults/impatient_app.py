"""The application, whose broker takes a message back from a worker before a slow call is done."""

from worker.app import app

app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "visibility_timeout": 0.2,
    "unacked_restore_interval": 0.1,
}
