"""The connection to the relay, with a relay, a clock and chance that the test plays."""

from __future__ import annotations

import pytest


def test_it_shows_its_ticket_and_is_live_with_the_hello(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            return [r.told.urls, r.socket.protocols, r.told.states, r.connection.position];
        }"""
    ) == [["ws://relay/ws"], ["paybeat.v1", "ticket.t1"], ["connecting", "live"], "e1-10"]


def test_only_the_next_event_is_taken(bench):
    taken, sent = bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            r.event(11, 12, 12, 3, 15, 16);
            await r.clock.pass(0);
            const sent = [...r.told.sent];
            r.event(13, 14, 15, 16, 17);
            return [r.told.events, sent];
        }"""
    )
    assert taken == [f"e1-{seq}" for seq in range(11, 18)]
    assert sent == [{"type": "resume", "since": "e1-12"}]


def test_a_gap_that_is_told_is_asked_for_and_not_more_often_than_once_a_second(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            r.say("relay.gap", {after: "e1-10", through: "e1-20"});
            await r.clock.pass(0);
            r.event(11, 12);
            r.say("relay.gap", {after: "e1-12", through: "e1-30"});
            r.say("relay.gap", {after: "e1-30", through: "e1-40"});
            await r.clock.pass(500);
            const early = r.told.sent.length;
            await r.clock.pass(600);
            return [early, r.told.sent.map((each) => each.since)];
        }"""
    ) == [1, ["e1-10", "e1-12"]]


def test_it_resumes_where_it_was_and_takes_what_it_missed(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            r.event(11);
            await r.close(1006);
            await r.clock.pass(1000);
            r.say("relay.hello", {position: "e1-13", resumed: true});
            r.event(12, 13, 14);
            return [r.told.urls[1], r.told.events, r.told.refetches];
        }"""
    ) == ["ws://relay/ws?since=e1-11", ["e1-11", "e1-12", "e1-13", "e1-14"], ["begin"]]


@pytest.mark.parametrize(
    ("told", "reason", "spread_ms"),
    [
        ('"relay.refetch", {reason: "trimmed", position: "e1-90"}', "trimmed", 0),
        ('"relay.refetch", {reason: "epoch", position: "e2-91", spread_ms: 700}', "epoch", 700),
        (None, "epoch", 0),
    ],
)
def test_what_cannot_be_told_any_more_is_a_refetch(bench, told, reason, spread_ms):
    told = f"r.say({told})" if told else 'r.event("e2-91")'
    refetches, spreads, position = bench.evaluate(
        f"""async () => {{
            const r = await play.relay();
            await r.live();
            {told};
            return [r.told.refetches, r.told.spreads, r.connection.position];
        }}"""
    )
    assert refetches == ["begin", reason]
    assert spreads == [0, spread_ms]
    assert position in {"e1-90", "e2-91"}


def test_what_cannot_be_resumed_is_asked_anew_once_and_spread(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            await r.close(1006);
            await r.clock.pass(1000);
            r.say("relay.hello", {position: "e2-5", resumed: false});
            r.say("relay.refetch", {reason: "epoch", position: "e2-5", spread_ms: 9000});
            r.event("e2-6");
            return [r.told.refetches, r.told.spreads, r.told.events, r.told.states.at(-1)];
        }"""
    ) == [["begin", "epoch"], [0, 9000], ["e2-6"], "live"]


@pytest.mark.parametrize(
    ("code", "reason", "then"),
    [
        (4000, "", "stopped"),
        (4001, "", "stopped"),
        (4003, "", "stopped"),
        (4100, "", "waiting 1000"),
        (4103, "", "waiting 1000"),
        (4106, "", "waiting 1000"),
        (1001, "", "waiting 1000"),
        (1006, "", "waiting 1000"),
        (4200, "retry_ms=730", "waiting 730"),
    ],
)
def test_close_codes_are_honoured(bench, code, reason, then):
    state, tries = bench.evaluate(
        """async ([code, reason]) => {
            const r = await play.relay();
            await r.live();
            await r.close(code, reason);
            const state = r.told.states.at(-1);
            await r.clock.pass(3600_000);
            return [state, r.told.urls.length];
        }""",
        [code, reason],
    )
    assert state == then
    assert (tries == 1) == (then == "stopped")


def test_waits_double_to_half_a_minute_and_begin_anew_after_steady_times(bench):
    waits, after = bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            const last = () => Number(r.told.states.at(-1).split(" ")[1]);
            const waits = [];
            for (let n = 0; n < 7; n += 1) {
                await r.close(1006);
                waits.push(last());
                await r.clock.pass(waits.at(-1));
            }
            r.say("relay.hello", {position: "e1-10", resumed: true});
            await r.clock.pass(6000);
            await r.close(1006);
            return [waits, last()];
        }"""
    )
    assert waits == [1000, 2000, 4000, 8000, 16000, 30000, 30000]
    assert after == 1000


def test_the_wait_is_anything_up_to_its_length(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay({random: () => 0.25});
            await r.live();
            await r.close(1006);
            return r.told.states.at(-1);
        }"""
    ) == ("waiting 250")


def test_silence_is_asked_about_and_no_answer_is_an_end(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            await r.clock.pass(40_000);
            const sent = [...r.told.sent];
            r.say("relay.pong");
            await r.clock.pass(45_000);
            const state = r.told.states.at(-1);
            await r.clock.pass(5_000);
            return [sent, state, r.told.states.at(-1), r.told.closed];
        }"""
    ) == [[{"type": "ping"}], "live", "waiting 1000", [1000]]


def test_offline_closes_and_online_goes_on_at_once(bench):
    states, urls = bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            r.connection.goOffline();
            await r.clock.pass(600_000);
            r.connection.goOnline();
            await play.settle();
            return [r.told.states, r.told.urls];
        }"""
    )
    assert states == ["connecting", "live", "offline", "connecting"]
    assert urls[1:] == ["ws://relay/ws?since=e1-10"]


def test_who_looks_again_does_not_wait(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            await r.close(1006);
            r.connection.nudge();
            await play.settle();
            return r.told.urls.length;
        }"""
    ) == (2)


@pytest.mark.parametrize(
    ("failure", "then"),
    [
        ("{status: 401}", "stopped"),
        ("{status: 403}", "stopped"),
        ("{status: 503, retryAfterS: 2}", "waiting 3000"),
        ("new TypeError('away')", "waiting 1000"),
    ],
)
def test_a_ticket_that_is_not_to_be_had_stops_or_waits(bench, failure, then):
    assert bench.evaluate(
        f"""async () => {{
            const r = await play.relay();
            r.failing = {failure};
            r.connection.start();
            await play.settle();
            return r.told.states.at(-1);
        }}"""
    ) == (then)


def test_an_old_socket_is_not_heard_any_more(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            await r.live();
            const old = r.socket;
            await r.close(1006);
            await r.clock.pass(1000);
            r.say("relay.hello", {position: "e1-10", resumed: true});
            old.onmessage({data: JSON.stringify({id: "e1-11", type: "x", data: {}})});
            old.onclose({code: 4001, reason: ""});
            return [r.told.events, r.told.states.at(-1)];
        }"""
    ) == [[], "live"]


def test_no_hello_is_no_connection(bench):
    assert bench.evaluate(
        """async () => {
            const r = await play.relay();
            r.connection.start();
            await r.clock.pass(15_000);
            return r.told.states.at(-1);
        }"""
    ) == ("waiting 1000")


def test_every_tab_is_told_over_how_long_to_fetch_anew(bench):
    assert bench.evaluate(
        """async () => {
            const {Hub} = await import("/console/static/js/relay/hub.js");
            const posted = [];
            const post = (message) => posted.push(message);
            const hub = new Hub({getTicket: () => new Promise(() => {}), post});
            const data = {reason: "epoch", position: "e2-4", spread_ms: 700};
            hub.connection.hear(JSON.stringify({type: "relay.refetch", data}));
            hub.stop();
            return posted[0];
        }"""
    ) == {"type": "refetch", "reason": "epoch", "position": "e2-4", "spreadMs": 700}


def test_live_is_not_said_while_all_is_being_asked_anew(bench):
    assert bench.evaluate(
        """async () => {
            const { statusInWords } = await import("/console/static/js/relay/client.js");
            const live = {state: "live", until: null, behindUntil: 5000};
            return [statusInWords(live, 4000), statusInWords(live, 5000)];
        }"""
    ) == ["Catching up…", "Live"]
