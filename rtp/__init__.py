"""The media process: RTP in ─▶ right source? ─▶ evidence ─▶ rewrite 12 bytes ─▶ RTP out.

    control socket ─▶ control_server ─▶ engine ─▶ leg ─▶ track (one medium: receive) ─▶ sender (one medium: send)
                                          │  │             │                              │
                                          │  └ mixing ─▶ voices ─▶ mixer (rooms of three and more)
                                          room, wiring     latch, source, mapping         outstream, silent gate

Pure: packet, sequence, rtcp, source, latch, mapping, wiring, room, outstream, picture, dtmf, g711, frames, jitter, mixer,
noise.
With sockets, clock and log: ports, route, track, special, sender, reports, leg, engine, evidence, loop, prepare,
audience, voices, mixing, load, control_server, worker, client.

Not done here: SRTP, ICE, RTP and RTCP on one port (RFC 5761), retransmission (RFC 4588), real-time text, a cache of
key frames, a native engine.
"""
