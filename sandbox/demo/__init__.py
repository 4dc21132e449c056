"""`make demo`: the demo company at work, each step shown as it happens.

    python -m sandbox.demo              an invoice is paid
    python -m sandbox.demo dunning      a declined payment climbs the ladder for three days

Over HTTP, as a customer's program would; `make demo` brings up what answers. The last line is one
JSON object with the seconds of each step. Ends with 1 and one sentence when something is not as
it should be.
"""
