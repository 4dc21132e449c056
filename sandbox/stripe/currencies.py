"""Amounts as Stripe takes them: which currencies, in what unit, how small and how large."""

from __future__ import annotations

from sandbox.stripe.errors import InvalidRequest

CURRENCIES = frozenset(
    "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn "
    "bzd cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd "
    "gnf gtq gyd hkd hnl hrk htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt "
    "lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr "
    "nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd "
    "std szl thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xof xpf yer "
    "zar zmw".split()
)
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
STEP_MINOR = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}
# ISK and UGX have no decimals but are written with two; of three decimals the last must be 0.
SMALLEST_MINOR = {
    "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200,
    "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip
LARGEST_MINOR = 99_999_999
MORE_DIGITS = {"cop": 10, "huf": 10, "idr": 12, "inr": 9, "jpy": 10, "krw": 10, "lbp": 12}


def check_amount(amount: int, currency: str, *, param: str = "amount") -> None:
    """Refuse what Stripe would refuse."""
    if amount < 1:
        raise InvalidRequest(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param=param,
        )
    step = STEP_MINOR.get(currency, 1)
    if amount % step:
        raise InvalidRequest(
            f"Invalid amount. The amount in {currency} must be divisible by {step}.",
            code="parameter_invalid_integer",
            param=param,
        )
    smallest = SMALLEST_MINOR.get(currency, step)
    if amount < smallest:
        raise InvalidRequest(
            f"Amount must be at least {shown(smallest, currency)} {currency}",
            code="amount_too_small",
            param=param,
        )
    digits = MORE_DIGITS.get(currency)
    largest = 10**digits - 1 if digits else LARGEST_MINOR
    if amount > largest:
        raise InvalidRequest(
            f"Amount must be no more than {shown(largest, currency)} {currency}",
            code="amount_too_large",
            param=param,
        )


def check_currency(given: str) -> str:
    """Return the currency in lower case, as Stripe answers with it."""
    currency = given.lower()
    if currency not in CURRENCIES:
        raise InvalidRequest(
            f"Invalid currency: {given}. Stripe currently supports these currencies: "
            + ", ".join(sorted(CURRENCIES)),
            param="currency",
        )
    return currency


def shown(amount_minor: int, currency: str) -> str:
    """Return an amount for a person."""
    if currency in ZERO_DECIMAL:
        return str(amount_minor)
    return f"{amount_minor // 100}.{amount_minor % 100:02}"


def fee_minor(amount_minor: int) -> int:
    """Return what the stand-in keeps: 2.9 % and 30, never more than there is."""
    return min(amount_minor, amount_minor * 29 // 1000 + 30)
