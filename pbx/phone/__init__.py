"""Scripted phones: real SIP and RTP for drills, tests and newcomers who have no phone.

command line (caller, desk) ─▶ phone ─▶ user_agent ─▶ signalling ─▶ UDP
                                  └───▶ media ─▶ stream ─▶ sound, picture, video
                                  └───▶ report ─▶ one JSON object

Pure: picture, video, sound, stream, report, location, texts. With sockets and clock: signalling, user_agent, media, phone.
Not done: TCP and TLS, a second call, transfer, codecs beyond PCMA, Opus and H.264.
"""
