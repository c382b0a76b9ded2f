"""Trunks: roads to other exchanges, such as the 110 exchange that is there already, or a carrier.

in → out: settings, what peers answer, time → who is up, where a call goes next, who is believed what; requests that keep
a registration and ask peers whether they live. Everything but `secret` is pure.

    settings ─▶ Trunks ─┬─ trunk ─┬─ peers          which peer next: weight, health, overload (RFC 2782, RFC 7339)
                        │         ├─ registration   refresh and back-off (RFC 3261 §10.2, RFC 5626 §4.5)
                        │         └─ digest         credentials, for this trunk's realm and peers alone (RFC 7616)
                        ├─ trust        which trunk a request came over; nobody else's claims are believed (RFC 3325)
                        └─ numbers, caller_id, causes    what numbers and causes mean

A call over a trunk is a leg like any other (`pbx.call.trunk_calls`); what it remembers of its trunk is a `Line`.

We don't do this: least-cost routing, ENUM, overlap dialling.
"""
