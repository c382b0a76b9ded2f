"""Event packages: what a NOTIFY says about a seat, its room or an account's phones (RFC 4235, 4575, 3863, 3680).

in → out: plain facts (`Seat`, bindings) → a `Document` by package → XML, whole or as the difference to what a watcher knows.

Not done: templates (`winfo`), lists of resources (RFC 4662), filters (RFC 4660), `max-rate` (RFC 6446), body compression.
"""
