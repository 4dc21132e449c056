"""What stands around the views: the way in and out, the policy, the keyboard."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.system import PASSWORD

CONFIG = re.compile(r"/console/config\.json$")
ME = re.compile(r"/api/v1/auth/me$")
SESSION = re.compile(r"/console/session$")


def test_somebody_signs_in_by_the_form_and_out_by_the_button(console):
    member = console.system.member()
    page = console.open()
    page.get_by_label("Email").fill(member.user["email"])
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Email or password is wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_focused()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_keyboard_skips_to_the_content_and_follows_links(console):
    console.owner()
    page = console.open()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_focused()
    page.get_by_role("link", name="Invoices", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="Invoices")).to_be_focused()
    expect(page).to_have_title("Invoices · Paybeat")
    page.go_back()
    expect(page.get_by_role("heading", name="Overview")).to_be_focused()


def test_colours_are_chosen_and_kept(console):
    page = console.open()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Colours: As the system").click()
    expect(page.get_by_role("button", name="Colours: Light")).to_be_focused()
    assert page.evaluate(ground) != dark
    page.reload()
    expect(page.get_by_role("button", name="Colours: Light")).to_be_visible()


def test_the_page_is_as_its_reader_prefers_wherever_they_sign_in(console):
    owner = console.owner()
    chosen = {"theme": "dark", "time_zone": "Pacific/Kiritimati", "language": "de"}
    assert owner.send("PATCH", "/api/v1/me/preferences", body=chosen).status == 200
    page = console.open()
    expect(page.get_by_role("button", name="Colours: Dark")).to_be_visible()
    written = """async () => {
        const f = await import("/console/static/js/format.js");
        return f.dateTime("2026-11-23T20:00:00Z");
    }"""
    assert page.evaluate(written) == "24.11.2026, 10:00:00"
    with page.expect_response(lambda told: told.request.method == "PATCH"):
        page.get_by_role("button", name="Colours: Dark").click()
    assert owner.get("/api/v1/me/preferences").body["theme"] == "system"


def test_on_a_phone_the_menu_opens_and_closes_and_nothing_is_cut_off(console):
    console.owner()
    page = console.open()
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    menu = page.get_by_role("button", name="Menu")
    expect(page.get_by_role("navigation")).to_be_hidden()
    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    menu.click()
    page.get_by_role("link", name="Invoices", exact=True).click()
    expect(page.get_by_role("heading", name="Invoices")).to_be_visible()
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_an_operator_chooses_the_company_to_act_for(console):
    company_id = console.system.company("Zephyr Ltd")
    owner = console.system.member(company_id=company_id)
    line = {"description": "Seats", "quantity": 1, "unit_amount": "10.00"}
    number = owner.post("/api/v1/invoices", {"lines": [line]}).body["number"]
    console.operator()
    page = console.open("/invoices")
    page.get_by_label("Find a company").fill("Zeph")
    page.get_by_role("button", name="Zephyr Ltd").click()
    expect(page.get_by_role("main")).to_contain_text(number)
    expect(page.get_by_role("link", name="For Zephyr Ltd")).to_be_visible()
    expect(page.locator("#connection")).to_contain_text("Live")


def test_an_address_of_nothing_says_so(console):
    console.owner()
    page = console.open("/nowhere/at/all")
    nothing = page.get_by_role("heading", name="There is no such page")
    expect(nothing).to_be_visible()
    # What is no id would lead elsewhere in the API.
    for path in ("/payments/%2e%2e%2foverview", "/invoices/no-id"):
        console.go(page, path)
        expect(nothing).to_be_visible()
    assert (
        page.evaluate(
            """async () => {
            const {api} = await import("/console/static/js/api.js");
            const asked = ["/payments/../overview", "/payments/%2e%2e/x", "/payments/x?y", "/a b"];
            const told = await Promise.allSettled(asked.map((each) => api.get(each)));
            return told.map(({reason}) => String(reason).slice(0, 22));
        }"""
        )
        == ["Error: No path of the "] * 4
    )
    console.go(page, "/operations/reviews")
    expect(page.get_by_role("alert")).to_have_text(
        "Your role may not see thisAsk an owner of the company, or sign in as somebody who may."
    )


def test_a_server_that_is_away_is_asked_until_it_is_back(console):
    def refuse(route):
        problem = {"title": "Not now", "detail": "A moment.", "status": 429}
        route.fulfill(status=429, json=problem, content_type="application/problem+json")

    console.context.route(CONFIG, refuse)
    page = console.open()
    expect(page.get_by_role("alert")).to_contain_text("This is tried again by itself.")
    expect(page.get_by_role("alert")).to_contain_text("Not now")
    page.get_by_role("button", name="Try again").click()
    console.context.unroute(CONFIG)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    console.owner()
    console.context.route(ME, lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    console.context.unroute(ME)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    console.context.route(SESSION, lambda route: route.abort())
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#toasts")).to_contain_text("You are still signed in")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


RECORDED = """
    const real = Notification;
    globalThis.onDesktop = [];
    globalThis.isAway = false;
    globalThis.Notification = class {
        static requestPermission() { return real.requestPermission(); }
        static get permission() { return real.permission; }
        constructor(title, {body}) { onDesktop.push([title, body]); }
    };
    const visibilityState = {get: () => (isAway ? "hidden" : "visible")};
    Object.defineProperty(document, "visibilityState", visibilityState);
"""
TELL = """async (amount) => {
    const {notice} = await import("/console/static/js/notices.js");
    const data = {amount, currency: "INR"};
    notice([{id: `e-${amount}`, type: "payment.succeeded", data}]);
}"""


def test_notices_come_to_the_desktop_for_who_allowed_it_and_looks_elsewhere(console):
    console.owner()
    page = console.context.new_page()
    page.add_init_script(RECORDED)
    console.go(page, "/")
    told = page.locator("#toasts")
    page.get_by_role("button", name="Notices").click()
    dialog = page.get_by_role("dialog", name="Notices")
    desktop = dialog.get_by_label("On the desktop too")
    desktop.click()
    expect(desktop).to_have_accessible_description(re.compile("The browser does not allow it"))
    expect(desktop).not_to_be_checked()
    console.context.grant_permissions(["notifications"])
    desktop.click()
    expect(desktop).to_have_accessible_description("")
    expect(desktop).to_be_checked()
    page.keyboard.press("Escape")

    for amount, is_away in (("1.00", False), ("2.00", True)):
        page.evaluate("(away) => { isAway = away; }", is_away)
        page.evaluate(TELL, amount)
        expect(told).to_contain_text(f"₹{amount}")
    page.get_by_role("button", name="Notices").click()
    desktop.uncheck()
    page.evaluate(TELL, "3.00")
    expect(told).to_contain_text("₹3.00")
    dialog.get_by_label("Show notices").uncheck()
    page.evaluate(TELL, "4.00")
    assert page.evaluate("onDesktop") == [["Payment succeeded", "₹2.00"]]
    page.reload()
    page.get_by_role("button", name="Notices").click()
    expect(dialog.get_by_label("Show notices")).not_to_be_checked()


def test_a_notice_tells_of_what_happened_and_many_become_one(console):
    page = console.open()
    page.evaluate(
        """async () => {
            const {notice} = await import("/console/static/js/notices.js");
            const paid = {amount: "5.00", currency: "INR"};
            const event = (n) => ({id: `e-${n}`, type: "payment.succeeded", data: paid});
            notice([event(0), {id: "e-x", type: "payment.started", data: {}}]);
            notice([1, 2, 3, 4].map(event));
        }"""
    )
    told = page.locator("#toasts")
    expect(told).to_contain_text("Payment succeeded")
    expect(told).to_contain_text("₹5.00")
    expect(told).to_contain_text("4 things happened")
    expect(told.locator(".toast")).to_have_count(2)
    told.get_by_role("button", name="Dismiss").first.click()
    expect(told.locator(".toast")).to_have_count(1)
