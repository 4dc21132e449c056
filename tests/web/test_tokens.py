"""Forged, borrowed and bent tokens."""

from __future__ import annotations

import base64
import json
import time
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from models.clock import now
from models.ids import new_id
from tests.web.probe import Probe
from tests.web.visitor import PASSWORD, Visitor, problem_of
from web.auth import tokens
from web.problems import Problem
from worker.settings import InvalidSettings, settings


@pytest.fixture(scope="module")
def private_keys():
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


def jwk_of(key, kid, *, private=True):
    found = RSAAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)
    return {**found, "kid": kid, "use": "sig", "alg": "RS256"}


def key_set(*entries):
    return json.dumps({"keys": list(entries)})


def pem_of(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def claims(**changed):
    whole = {
        "iss": settings().jwt_issuer,
        "aud": settings().jwt_audience,
        "sub": str(new_id()),
        "sid": str(new_id()),
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
    }
    return {name: value for name, value in {**whole, **changed}.items() if value is not None}


def signed(**changed):
    body = json.dumps(claims(**changed)).encode()
    return jwt.api_jws.encode(body, settings().jwt_secret, algorithm="HS256")


def raw(header, body, signature=b"x"):
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def refused(token):
    with pytest.raises(Problem) as found:
        tokens.read(token)
    assert found.value.kind == "unauthenticated"
    return True


def test_what_is_issued_is_read(use):
    user_id, session_id = new_id(), new_id()
    token = tokens.issue(
        user_id=user_id, session_id=session_id, expires_at=now() + timedelta(hours=1)
    )
    assert tokens.read(token) == tokens.Claims(user_id, session_id)


def test_a_token_of_our_own_making_is_accepted(use):
    assert tokens.read(signed())


@pytest.mark.parametrize("name", ["exp", "aud", "iss", "iat", "sub", "sid"])
def test_each_claim_is_required(use, name):
    assert refused(signed(**{name: None}))


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 1},
        {"exp": 0},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": True},
        {"exp": [9999999999]},
        {"aud": "another"},
        {"aud": []},
        {"iss": "another"},
        {"iss": ["paybeat"]},
        {"sub": "not-an-id"},
        {"sub": 7},
        {"sid": "not-an-id"},
        {"sid": 7},
        {"sid": {}},
        {"nbf": int(time.time()) + 3600},
    ],
)
def test_a_wrong_claim_is_refused(use, changed):
    assert refused(signed(**changed))


def test_alg_none_is_refused(use):
    for name in ("none", "None", "NONE", "nOnE"):
        assert refused(raw({"alg": name, "typ": "JWT"}, claims(), b""))


def test_another_secret_or_algorithm_is_refused(use):
    assert refused(jwt.encode(claims(), "x" * 40, algorithm="HS256"))
    assert refused(jwt.encode(claims(), settings().jwt_secret * 2, algorithm="HS512"))


def test_a_changed_body_is_refused(use):
    head, _, tail = signed().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(sub=str(new_id()))).encode()).rstrip(b"=")
    assert refused(f"{head}.{body.decode()}.{tail}")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b", "a.b.c", "é.é.é", "\x00", "a" * 5000])
def test_rubbish_is_refused(use, token):
    assert refused(token)


def test_a_header_that_carries_its_own_key_is_refused(use, private_keys):
    own = jwk_of(private_keys[1], "mine", private=False)
    for header in ({"jwk": own}, {"jku": "http://127.0.0.1/keys"}, {"x5c": ["x"]}):
        token = jwt.encode(claims(), private_keys[1], algorithm="RS256", headers=header)
        assert refused(token)


def test_an_rsa_key_set_signs_and_verifies(use, private_keys):
    use(jwt_keys=key_set(jwk_of(private_keys[0], "one")))
    token = tokens.issue(
        user_id=new_id(), session_id=new_id(), expires_at=now() + timedelta(hours=1)
    )
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": "one", "typ": "JWT"}
    assert tokens.read(token)


def test_the_public_key_is_no_secret_for_hs256(use, private_keys):
    use(jwt_keys=key_set(jwk_of(private_keys[0], "one")))
    secret = pem_of(private_keys[0])
    head = {"alg": "HS256", "typ": "JWT", "kid": "one"}
    unsigned = raw(head, claims()).rpartition(".")[0]
    import hmac

    signature = hmac.digest(secret, unsigned.encode(), "sha256")
    tail = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    assert refused(f"{unsigned}.{tail}")


def test_the_secret_signs_nothing_once_there_are_keys(use, private_keys):
    token = signed()
    assert tokens.read(token)
    use(jwt_keys=key_set(jwk_of(private_keys[0], "one")))
    assert refused(token)


@pytest.mark.parametrize("kid", [None, "two", "", "../one", "one\x00"])
def test_an_unknown_key_id_is_refused(use, private_keys, kid):
    use(jwt_keys=key_set(jwk_of(private_keys[0], "one")))
    headers = {} if kid is None else {"kid": kid}
    assert refused(jwt.encode(claims(), private_keys[0], algorithm="RS256", headers=headers))


def test_another_key_under_a_known_id_is_refused(use, private_keys):
    use(jwt_keys=key_set(jwk_of(private_keys[0], "one")))
    token = jwt.encode(claims(), private_keys[1], algorithm="RS256", headers={"kid": "one"})
    assert refused(token)


def test_keys_rotate_without_a_logout(use, private_keys):
    first, second = private_keys
    use(jwt_keys=key_set(jwk_of(first, "one")))
    old = jwt.encode(claims(), first, algorithm="RS256", headers={"kid": "one"})
    use(jwt_keys=key_set(jwk_of(second, "two"), jwk_of(first, "one", private=False)))
    assert tokens.read(old)
    new = tokens.issue(user_id=new_id(), session_id=new_id(), expires_at=now() + timedelta(hours=1))
    assert jwt.get_unverified_header(new)["kid"] == "two"
    assert tokens.read(new)
    use(jwt_keys=key_set(jwk_of(second, "two")))
    assert refused(old)


def test_a_key_set_may_stand_in_a_file(use, private_keys, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(key_set(jwk_of(private_keys[0], "one")))
    use(jwt_keys=str(path))
    assert tokens.keys().signing_id == "one"


def test_a_key_set_lets_people_sign_in(use, private_keys, person):
    use(jwt_keys=key_set(jwk_of(private_keys[0], "one")))
    owner = Visitor(Probe().app).sign_in(person.email, PASSWORD)
    assert owner.get("/api/v1/auth/me").status_code == 200
    head, body, _ = owner.token.split(".")
    problem_of(
        Visitor(owner.app, f"{head}.{body}.AAAA").get("/api/v1/auth/me"), 401, "unauthenticated"
    )


def test_a_key_set_that_cannot_be_used_keeps_us_from_starting(use, private_keys, tmp_path):
    weak = jwk_of(rsa.generate_private_key(public_exponent=65537, key_size=1024), "weak")
    curve = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    for given in (
        "{",
        "{}",
        str(tmp_path / "missing.json"),
        key_set(),
        key_set(jwk_of(private_keys[0], "one", private=False)),
        key_set(weak),
        key_set({**curve, "kid": "curve"}),
        key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}),
        key_set({"kty": "RSA"}),
    ):
        use(jwt_keys=given)
        with pytest.raises(InvalidSettings, match="JWT_KEYS"):
            Probe()
