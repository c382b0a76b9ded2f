"""The media process: RTP in ─▶ right source? ─▶ evidence ─▶ rewrite 12 bytes ─▶ RTP out.

    control socket ─▶ control_server ─▶ engine ─▶ leg ─▶ track (one medium: receive) ─▶ sender (one medium: send)
                                          │                │                              │
                                          room, wiring     latch, source, mapping         outstream, silent gate

Pure: packet, sequence, rtcp, source, latch, mapping, wiring, room, outstream, picture, dtmf, g711, frames.
With sockets, clock and log: ports, route, track, special, sender, reports, leg, engine, evidence, loop, prepare,
control_server, worker, client.

Not done here: SRTP, ICE, RTP and RTCP on one port (RFC 5761), retransmission (RFC 4588), mixing of three voices,
real-time text, a cache of key frames, a native engine.
"""
