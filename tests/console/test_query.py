"""The store and the queries over it, with a server and a clock that the test plays."""

from __future__ import annotations

PASSING = "Object.assign(new Error('away'), {isPassing: true})"


def run(bench, script):
    """Run `script` with queries `q` in hand."""
    return bench.evaluate(f"async () => {{ const q = await play.queries(); {script} }}")


def test_a_subscriber_hears_what_it_selects_and_only_when_that_changes(bench):
    assert bench.evaluate(
        """async () => {
            const {createStore} = await import("/console/static/js/store.js");
            const store = createStore({a: 1, b: 1});
            const heard = [];
            const stop = store.subscribe(({a}) => a, (now, before) => heard.push([before, now]));
            store.set({b: 2});
            store.set({a: 2});
            store.set(({a}) => ({a: a + 1}));
            stop();
            store.set({a: 9});
            return [heard, store.get()];
        }"""
    ) == [[[1, 2], [2, 3]], {"a": 9, "b": 2}]


def test_what_is_known_is_shown_while_it_is_asked_anew(bench):
    renders, asked = run(
        bench,
        """
        const first = q.seen(q.ask("a", {staleMs: 1000}));
        await q.answer("a", "old");
        first.stop();
        await q.clock.pass(2000);
        const again = q.seen(q.ask("a", {staleMs: 1000}));
        await q.answer("a", "new");
        return [again.renders, q.asked("a")];
        """,
    )
    assert renders[0] == ["old", None, False, True]
    assert renders[-1] == ["new", None, False, False]
    assert asked == 2


def test_what_is_fresh_is_not_asked_again(bench):
    assert run(
        bench,
        """
        const first = q.seen(q.ask("a"));
        await q.answer("a", 1);
        first.stop();
        const {renders} = q.seen(q.ask("a"));
        return [renders, q.asked("a")];
        """,
    ) == [[[1, None, False, False]], 1]


def test_many_who_watch_share_one_fetch(bench):
    assert run(
        bench,
        """
        const all = [1, 2, 3].map(() => q.seen(q.ask("a")));
        await q.answer("a", 7);
        return [q.asked("a"), all.map(({renders}) => renders.at(-1)[0])];
        """,
    ) == [1, [7, 7, 7]]


def test_a_fetch_that_nobody_waits_for_any_more_is_aborted(bench):
    assert run(
        bench,
        """
        const {stop} = q.seen(q.ask("a"));
        stop();
        await play.settle();
        return [q.fetches[0].signal.aborted, q.ask("a").get().error];
        """,
    ) == [True, None]


def test_another_key_aborts_the_one_before_and_shows_its_data_until_it_has_its_own(bench):
    assert run(
        bench,
        """
        const shown = [];
        const f = q.follow(({data, isPrevious}) => shown.push([data ?? null, isPrevious]));
        f.show(q.ask("a"));
        await q.answer("a", "A");
        f.show(q.ask("b"));
        f.show(q.ask("c"));
        await q.answer("c", "C");
        return [q.fetches.map(({signal}) => signal.aborted), shown.at(-2), shown.at(-1)];
        """,
    ) == [[False, True, False], ["A", True], ["C", False]]


def test_what_is_invalid_is_asked_anew_if_watched_and_later_if_not(bench):
    assert run(
        bench,
        """
        q.seen(q.ask("a"));
        const b = q.seen(q.ask("b"));
        await q.answer("a", 1);
        await q.answer("b", 1);
        b.stop();
        q.invalidate([]);
        const then = [q.asked("a"), q.asked("b")];
        q.seen(q.ask("b"));
        return [then, q.asked("b")];
        """,
    ) == [[2, 1], 2]


def test_only_what_begins_with_the_prefix_is_invalid(bench):
    assert bench.evaluate(
        """async () => {
            const q = await play.queries();
            const asked = [];
            for (const key of [["a", 1], ["a", {b: 1}], ["ab"]]) {
                q.watch(q.query(key, async () => asked.push(JSON.stringify(key))), () => {});
            }
            await play.settle();
            asked.length = 0;
            q.invalidate(["a"]);
            await play.settle();
            return asked;
        }"""
    ) == ['["a",1]', '["a",{"b":1}]']


def test_what_changes_during_a_fetch_has_it_asked_once_more(bench):
    assert run(
        bench,
        """
        const {renders} = q.seen(q.ask("a"));
        q.invalidate(["a"]);
        q.invalidate(["a"]);
        await q.answer("a", "before");
        await q.answer("a", "after");
        return [q.asked("a"), renders.at(-1)];
        """,
    ) == [2, ["after", None, False, False]]


def test_nobody_looks_at_a_hidden_page_and_what_is_stale_is_asked_on_return(bench):
    assert run(
        bench,
        """
        q.seen(q.ask("a"));
        await q.answer("a", 1);
        q.world.isVisible = false;
        q.invalidate(["a"]);
        const hidden = q.asked("a");
        q.world.isVisible = true;
        q.wake();
        return [hidden, q.asked("a")];
        """,
    ) == [1, 2]


def test_a_network_that_fails_is_tried_again_later_and_later_and_told(bench):
    tried, told, last = run(
        bench,
        f"""
        const {{renders}} = q.seen(q.ask("a"));
        const tried = [];
        for (let n = 0; n < 8; n += 1) {{
            await q.fail("a", {PASSING});
            const before = q.asked("a");
            const told = renders.at(-1)[1];
            await q.clock.pass(Math.min(1000 * 2 ** n, 30_000) - 1);
            const early = q.asked("a");
            await q.clock.pass(1);
            tried.push([early - before, q.asked("a") - before, told]);
        }}
        const told = renders.filter((each) => each[1]).length;
        await q.answer("a", "back");
        return [tried, told, renders.at(-1)];
        """,
    )
    assert tried == [[0, 1, None]] * 3 + [[0, 1, "away"]] * 5
    assert told == 1, "what is shown stays while it is tried on"
    assert last == ["back", None, False, False]


def test_what_is_tried_on_waits_while_nobody_looks(bench):
    assert run(
        bench,
        f"""
        const {{stop}} = q.seen(q.ask("a"));
        q.world.isVisible = false;
        await q.fail("a", {PASSING});
        await q.clock.pass(600_000);
        const hidden = q.asked("a");
        q.world.isVisible = true;
        q.wake();
        await q.fail("a", {PASSING});
        stop();
        await q.clock.pass(600_000);
        return [hidden, q.asked("a")];
        """,
    ) == [1, 2]


def test_what_the_server_refuses_is_told_at_once_and_what_was_known_stays(bench):
    assert run(
        bench,
        """
        const {renders} = q.seen(q.ask("a"));
        await q.answer("a", "known");
        q.invalidate(["a"]);
        await q.fail("a", new Error("refused"));
        await q.clock.pass(60_000);
        return [renders.at(-1), q.asked("a")];
        """,
    ) == [["known", "refused", False, True], 2]


def test_offline_nothing_is_tried_until_the_network_is_back(bench):
    assert run(
        bench,
        f"""
        q.seen(q.ask("a"));
        q.world.isOnline = false;
        await q.fail("a", {PASSING});
        await q.clock.pass(600_000);
        const offline = q.asked("a");
        q.world.isOnline = true;
        q.wake();
        return [offline, q.asked("a")];
        """,
    ) == [1, 2]


def test_another_user_finds_nothing_of_the_one_before(bench):
    assert run(
        bench,
        """
        const {stop} = q.seen(q.ask("a"));
        await q.answer("a", "secret");
        stop();
        q.clear();
        return q.ask("a").get().data ?? null;
        """,
    ) is (None)


def test_a_hundred_events_a_second_ask_and_draw_a_few_times(bench):
    asked, drawn, shown = bench.evaluate(
        """async () => {
            const {createGathering} = await import("/console/static/js/events.js");
            const clock = play.clock();
            const asked = [];
            const drawn = [];
            const gathering = createGathering({
                ask: (key) => asked.push(key.join("/")),
                show: (events) => drawn.push(events.length),
                setTimer: clock.setTimer,
            });
            for (let n = 0; n < 1000; n += 1) {
                gathering.hear([{id: `e-${n}`, type: "payment.succeeded", data: {}}]);
                await clock.pass(10);
            }
            await clock.pass(5000);
            const payments = asked.filter((key) => key === "payments").length;
            return [payments, drawn.length, drawn.reduce((a, b) => a + b)];
        }"""
    )
    # At 0, 1, 3, 7 and 11 s, of 10 s of events.
    assert asked == 5
    assert drawn <= 41
    assert shown == 1000


def test_one_event_is_asked_about_at_once(bench):
    assert bench.evaluate(
        """async () => {
            const {createGathering} = await import("/console/static/js/events.js");
            const asked = [];
            createGathering({
                ask: (key) => asked.push(key[0]), show: () => {}, setTimer: () => {},
            }).hear([{id: "e-1", type: "user.online", data: {}}]);
            return asked;
        }"""
    ) == ["presence"]


def test_what_all_pages_ask_anew_is_spread_and_not_fresh_meanwhile(bench):
    assert run(
        bench,
        """
        q.seen(q.ask("watched"));
        await q.answer("watched", "old");
        const left = q.seen(q.ask("known"));
        await q.answer("known", "old");
        left.stop();
        q.seen(q.ask("running"));
        q.invalidate([], {spreadMs: 4000});
        await q.answer("running", "from before");
        const stale = ["watched", "running"].map((name) => q.ask(name).get().isStale);
        const come = q.seen(q.ask("known"));
        await q.answer("known", "new");
        await q.clock.pass(3999);
        const before = ["watched", "running", "known"].map(q.asked);
        await q.clock.pass(1);
        return [stale, come.renders[0][3], before, ["watched", "running", "known"].map(q.asked)];
        """,
    ) == [[True, True], True, [1, 1, 2], [2, 2, 2]]
