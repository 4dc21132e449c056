"""Who is signed in, or which company is followed, changes: nothing of before goes on."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

# A tab of an operator whom the server never answers, as it would say that nobody is signed in.
# What the relay's shared worker says is in hand.
OPERATOR = """
    const {store} = await import("/console/static/js/store.js");
    const {actFor} = await import("/console/static/js/session.js");
    const {navigate} = await import("/console/static/js/router.js");
    const {openDialog} = await import("/console/static/js/ui/dialog.js");
    const until = async (holds) => {
        for (const began = Date.now(); !holds(); ) {
            if (Date.now() - began > 60_000) {
                throw new Error(`never: ${holds}`);
            }
            await new Promise((resolve) => setTimeout(resolve, 10));
        }
    };
    // The page has begun, whatever came before in it.
    await until(() => store.get().session.status === "out");
    await new Promise((resolve) => setTimeout(resolve));
    const real = globalThis.SharedWorker;
    const ports = [];
    globalThis.SharedWorker = class {
        port = {postMessage() {}, close() {}};
        constructor() {
            ports.push(this.port);
        }
    };
    const asking = globalThis.fetch;
    globalThis.fetch = () => new Promise(() => {});
    const user = {id: "u1", name: "Op", role: "operator", permissions: [], company_id: null};
    store.set({session: {status: "in", user, company: null}});
    const leave = () => {
        store.set({session: {status: "out", user: null, company: null}, feed: []});
        globalThis.SharedWorker = real;
        globalThis.fetch = asking;
    };
"""


def test_what_a_company_was_told_is_not_shown_to_the_next(bench):
    feed, notices = bench.evaluate(
        f"""async () => {{
            {OPERATOR}
            const paid = (seq, amount) => ({{
                id: `e1-${{seq}}`,
                type: "payment.succeeded",
                timestamp: new Date().toISOString(),
                data: {{amount, currency: "INR"}},
            }});
            const turnTo = async (id) => {{
                const before = ports.length;
                actFor({{id, name: id}});
                await until(() => ports.length > before);
                return (...events) => ports.at(-1).onmessage({{data: {{type: "events", events}}}});
            }};
            const ofA = await turnTo("a");
            ofA(paid(1, "1.00"));
            ofA(paid(2, "2.00"), paid(3, "3.00"));
            const ofB = await turnTo("b");
            ofB(paid(9, "9.00"));
            const toasts = document.getElementById("toasts");
            const isTold = () => /9\\.00|things/.test(toasts.innerText);
            await until(() => store.get().feed.length > 0 && isTold());
            const shown = store.get().feed.map((each) => each.id);
            const told = toasts.innerText;
            leave();
            return [shown, told];
        }}"""
    )
    assert feed == ["e1-9"]
    assert "9.00" in notices
    assert "2.00" not in notices


@pytest.mark.parametrize(
    "end",
    [
        "leave()",
        'store.set({session: {status: "in", user: {...user, id: "u2"}, company: null}})',
        'actFor({id: "a", name: "A"})',
        "history.back()",
    ],
)
def test_no_dialog_outlives_what_it_was_opened_from(bench, end):
    assert bench.evaluate(
        f"""async () => {{
            {OPERATOR}
            navigate("/health");
            const {{closed}} = openDialog("Refund?", () => "a payment");
            {end};
            await closed;
            leave();
            return document.querySelectorAll("dialog").length;
        }}"""
    ) == (0)


def test_a_dialog_that_comes_too_late_is_not_opened(bench):
    assert bench.evaluate(
        f"""async () => {{
            {OPERATOR}
            const {{askDryRun}} = await import("/console/static/js/views/replay.js");
            let answer;
            globalThis.fetch = () => new Promise((resolve) => void (answer = resolve));
            const asked = askDryRun("/operations/dead-letters", ["x"], async () => {{}});
            leave();
            answer(Response.json({{foreseen: []}}));
            await Promise.race([asked, until(() => document.querySelector("dialog"))]);
            const found = document.querySelectorAll("dialog").length;
            document.querySelectorAll("dialog").forEach((each) => each.close());
            return found;
        }}"""
    ) == (0)


def test_what_one_began_is_not_sent_again_as_another(bench):
    assert bench.evaluate(
        """async () => {
            const {actAs, api} = await import("/console/static/js/api.js");
            const fetched = globalThis.fetch;
            let sent = 0;
            globalThis.fetch = async () => {
                sent += 1;
                actAs("another", null);
                throw new TypeError("away");
            };
            actAs("one", null);
            const told = await api.post("/payments/x/refund").catch((error) => error.name);
            globalThis.fetch = fetched;
            actAs(null, null);
            return [sent, told];
        }"""
    ) == [1, "NetworkError"]


def test_what_is_asked_for_during_a_try_is_tried_once_more(bench):
    assert bench.evaluate(
        """async () => {
            const {untilItGoes} = await import("/console/static/js/again.js");
            const tries = [];
            const find = untilItGoes(() => new Promise((resolve) => tries.push(resolve)));
            const heard = [];
            find().then(() => heard.push("first"));
            find().then(() => heard.push("second"));
            tries[0]();
            await play.settle();
            const before = [...heard];
            tries[1]?.();
            await play.settle();
            return [before, heard, tries.length];
        }"""
    ) == [["first"], ["first", "second"], 2]


def test_a_page_whose_scripts_do_not_come_says_what_to_do(console):
    console.context.route("**/views/story.js", lambda route: route.abort())
    page = console.open()
    expect(page.get_by_text("reload the page")).to_be_visible()
