"""What currencies are worth here: near the real ones of 2026, moving a little by the hour.

The same hour always has the same rates, on any machine, so that tests can tell what is right.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal

HOUR_S = 3600
PLACES = Decimal("0.000001")
# Up or down at most by half a percent, in steps of a thousandth of one.
STEPS = 1001
STEP = Decimal("0.00001")

# One US dollar, in each.
_MIDDLE = """
AED 3.6725 AFN 70.5 ALL 92.1 AMD 388 ANG 1.79 AOA 915 ARS 1180 AUD 1.53 AWG 1.8 AZN 1.7 BAM 1.79
BBD 2 BDT 119.5 BGN 1.79 BHD 0.377 BIF 2930 BMD 1 BND 1.34 BOB 6.91 BRL 5.62 BSD 1 BWP 13.6
BYN 3.27 BZD 2.01 CAD 1.37 CDF 2850 CHF 0.88 CLP 945 CNY 7.18 COP 4150 CRC 512 CVE 101 CZK 23.1
DJF 177.7 DKK 6.83 DOP 60.3 DZD 133 EGP 49.6 ETB 124 EUR 0.9154 FJD 2.27 FKP 0.78 GBP 0.7795
GEL 2.73 GIP 0.78 GMD 70 GNF 8620 GTQ 7.73 GYD 209 HKD 7.78 HNL 24.9 HTG 131 HUF 366 IDR 15900
ILS 3.68 INR 84.25 ISK 137 JMD 158 JOD 0.709 JPY 151.3 KES 129 KGS 86.2 KHR 4060 KMF 451 KRW 1385
KWD 0.307 KYD 0.833 KZT 492 LAK 21900 LBP 89500 LKR 293 LRD 188 LSL 17.7 MAD 9.9 MDL 17.9
MGA 4620 MKD 56.4 MMK 2098 MNT 3390 MOP 8.01 MUR 46.2 MVR 15.4 MWK 1734 MXN 19.9 MYR 4.38 MZN 63.9
NAD 17.7 NGN 1640 NIO 36.8 NOK 10.98 NPR 134.6 NZD 1.66 OMR 0.385 PAB 1 PEN 3.77 PGK 3.95 PHP 58.1
PKR 277.8 PLN 3.98 PYG 7780 QAR 3.64 RON 4.55 RSD 107.1 RUB 97.4 RWF 1362 SAR 3.755 SBD 8.3
SCR 13.6 SEK 10.61 SGD 1.32 SHP 0.78 SLE 22.7 SOS 571 SRD 34.2 STD 22300 SZL 17.7 THB 33.9
TJS 10.6 TND 3.11 TOP 2.36 TRY 34.3 TTD 6.79 TWD 32.1 TZS 2670 UAH 41.3 UGX 3670 USD 1 UYU 41.6
UZS 12790 VND 25290 VUV 118.7 WST 2.72 XAF 600.5 XCD 2.7 XOF 600.5 XPF 109.2 YER 250 ZAR 17.6
ZMW 26.8 BTC 0.0000146 XAU 0.000372
""".split()
MIDDLE = {
    currency: Decimal(text) for currency, text in zip(_MIDDLE[::2], _MIDDLE[1::2], strict=True)
}


def rates_at(moment_s: int) -> dict[str, Decimal]:
    """Return what one dollar is in each currency, in the hour of a moment."""
    hour = moment_s // HOUR_S
    return {currency: _moved(currency, middle, hour) for currency, middle in MIDDLE.items()}


def _moved(currency: str, middle: Decimal, hour: int) -> Decimal:
    if currency == "USD":
        return middle
    digest = hashlib.sha256(f"{currency} {hour}".encode()).digest()
    steps = int.from_bytes(digest[:4], "big") % STEPS - STEPS // 2
    moved = middle * (1 + STEP * steps)
    # Fine enough for what is worth a hundred thousand dollars too.
    return moved.quantize(PLACES if middle > PLACES * 1000 else PLACES / 1_000_000)
