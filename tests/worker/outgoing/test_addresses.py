"""No address is called that is not of the public internet, however it is spelled."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from worker.outgoing.addresses import MOST_URL, Refused, Rules, is_public, networks

STRICT = Rules()
LAX = Rules(is_http_allowed=True, allowed=networks("127.0.0.0/8, ::1/128 10.20.0.0/16"))

BAD = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.171 192.0.2.1 192.88.99.1 192.168.1.1
198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:8.8.8.8 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::808:808
64:ff9b:1::1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1 2001:20::1 2001:db8::1
2002:7f00:1::1 2002:808:808::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1
ff02::1 2a00:1450::5efe:7f00:1 2a00:1450::200:5efe:a00:1
""".split()
GOOD = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.32.0.1 2606:4700:4700::1111 2a00:1450::1"


@pytest.mark.parametrize("address", BAD)
def test_an_address_that_is_not_public_is_refused(address):
    assert not is_public(ip_address(address))
    with pytest.raises(Refused):
        STRICT.check(ip_address(address))


@pytest.mark.parametrize("address", GOOD.split())
def test_a_public_address_may_be_called(address):
    STRICT.check(ip_address(address))


def test_what_an_installation_names_may_be_called_and_no_more():
    for address in ("127.0.0.1", "::1", "10.20.255.255", "8.8.8.8"):
        LAX.check(ip_address(address))
    for address in ("10.21.0.1", "::2", "::ffff:127.0.0.1", "169.254.169.254"):
        with pytest.raises(Refused):
            LAX.check(ip_address(address))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("//example.com/", "https://"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://name:secret@example.com/", "password"),
        ("https://name@example.com/", "password"),
        ("https://example.com@127.0.0.1/", "password"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:22/", "port"),
        ("https://example.com:25/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "no address"),
        ("https://example.com:x/", "no address"),
        ("https://[::1/", "no address"),
        ("https://[::1]/", "public"),
        ("https://[fe80::1%25eth0]/", "interface|no address"),
        ("https://127.0.0.1/", "public"),
        ("https://10.20.0.1/", "public"),
        ("https://2130706433/", "usual spelling"),
        ("https://0x7f000001/", "usual spelling"),
        ("https://0x7f.0.0.1/", "usual spelling"),
        ("https://0177.0.0.1/", "usual spelling"),
        ("https://127.1/", "usual spelling"),
        ("https://127.0.0.1./", "usual spelling"),
        ("https://127.0.0.0x1/", "usual spelling"),
        ("https://exa mple.com/", "ASCII"),
        ("https://example.com/\r\nX: y", "ASCII"),
        ("https://example.com\\@127.0.0.1/", "ASCII"),
        ("https://ex\u00e4mple.com/", "ASCII"),
        ("https://\u2460\u2461\u2466.0.0.1/", "ASCII"),
        ("https://exa_mple..com/", "name"),
        ("https://%31%32%37.0.0.1/", "name"),
        ("https://-example.com/", "name"),
        ("https://" + "a" * 64 + ".com/", "name"),
        ("https://example.com/" + "a" * MOST_URL, "characters"),
    ],
)
def test_an_address_that_cannot_be_called_is_refused_as_it_is_written(url, told):
    with pytest.raises(Refused, match=told):
        STRICT.target(url)


def test_an_address_is_read_as_it_will_be_called():
    target = STRICT.target("https://Hooks.Example.com./in?key=1")
    assert (target.host, target.port, target.path) == ("hooks.example.com", 443, "/in?key=1")
    assert target.host_header == "hooks.example.com"
    assert STRICT.target("https://example.com").path == "/"
    assert STRICT.target("https://example.com:8443/x").host_header == "example.com:8443"
    assert LAX.target("http://[::1]:9000/").host_header == "[::1]:9000"
    assert LAX.target("http://127.0.0.1/").port == 80


def test_networks_are_read_or_refused():
    assert list(map(str, networks("10.0.0.0/8, ::1/128"))) == ["10.0.0.0/8", "::1/128"]
    assert networks("") == ()
    with pytest.raises(ValueError, match="host bits"):
        networks("10.0.0.1/8")
