"""The call, cut in pieces: what a caller lives through, as pure machines, and the shell that carries it out.

in → out: SIP requests and responses, media events, commands of the API → effects → transport, media, evidence, API feed.

`negotiation` offers and answers of one leg · `leg` one dialog and its media · `call` what the caller lives through ·
`room` one desk and its permanent leg · `exchange` finds the machine an event is for · one file per verb around it ·
`control` runs effects, nothing else.

Not done here: transfer, staff in a room, hold by the host.
"""
