"""Evidence: what arrived, kept as it arrived, checkable by a stranger; and what is made from it afterwards.

in → out: packets and SIP messages → `capture` (pcapng) · acts and states → `events` (JSON lines) · closed folder →
`manifest` (SHA-256 of everything) → `verify` · capture → `streams` + `reorder` + `depacketize` → `render` (Matroska)
and `snapshot` (JPEG), run by `recorder` at low priority.

Originals are `call.pcapng` and `events.jsonl`; everything else in a call's folder is derived and can be made again.
Not done here: seals per second, the gap ledger and signatures (`manifest` keeps their place), retention, export.
Imports nothing of the house: the twelve bytes of an RTP header are read in `rtp_header`, so that evidence can be
read by this package alone.
"""
