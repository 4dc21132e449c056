"""Who is online, as the page tells it: also while its own connection is away."""

from __future__ import annotations

from playwright.sync_api import expect


def test_while_we_are_away_we_are_reconnecting_and_nobody_is_called_offline(console):
    owner = console.owner()
    colleague = console.system.member(company_id=owner.company_id)
    other = console.context.browser.new_context()
    other.add_cookies(
        [{"name": "paybeat_session", "value": colleague.token, "url": console.system.web_url}]
    )
    other.new_page().goto(f"{console.system.web_url}/console")
    page = console.open("/people")
    people = page.locator(".people > li")
    expect(people).to_have_count(2)
    mine = people.filter(has_text="(you)")
    theirs = people.filter(has_text=colleague.user["email"])
    expect(mine).to_have_attribute("data-state", "online")
    expect(theirs).to_have_attribute("data-state", "online")
    console.context.set_offline(True)
    expect(page.get_by_text("We are offline.")).to_be_visible()
    expect(mine).to_have_attribute("data-state", "reconnecting")
    expect(theirs).to_have_attribute("data-state", "not known now")
    console.context.set_offline(False)
    expect(mine).to_have_attribute("data-state", "online")
    other.close()
