from hypothesis import given
from hypothesis import strategies as st

from rtp.control import Codec
from rtp.mapping import Mapped, find, parameter, payload_map, same, sound

PCMA = Codec("PCMA", 8, 8000)
PCMU = Codec("PCMU", 0, 8000)
OPUS = Codec("OPUS", 111, 48000, 2)
EVENTS = Codec("TELEPHONE-EVENT", 101, 8000)
H264_0 = Codec("H264", 97, 90000, fmtp="profile-level-id=42e01f")
H264_1 = Codec("H264", 96, 90000, fmtp="profile-level-id=42e01f; Packetization-Mode=1")
VP8 = Codec("VP8", 98, 90000)


def test_identity_is_not_the_payload_type():
    assert same(OPUS, Codec("OPUS", 120, 48000, 2, "useinbandfec=1"))
    assert not same(OPUS, Codec("OPUS", 111, 48000))
    assert not same(EVENTS, Codec("TELEPHONE-EVENT", 101, 48000))


def test_packetization_mode_is_part_of_h264():
    # RFC 6184 §8.1: absent means 0.
    assert same(H264_0, Codec("H264", 100, 90000, fmtp="packetization-mode=0"))
    assert not same(H264_0, H264_1)


def test_mode_0_goes_into_mode_1_but_not_back():
    assert find(H264_0, (VP8, H264_1)) == H264_1
    assert find(H264_1, (VP8, H264_0)) is None
    assert find(H264_0, (H264_1, H264_0)) == H264_0


def test_parameter_of_fmtp():
    assert parameter(H264_1, "packetization-mode") == "1"
    assert parameter(H264_1, "level") is None


def test_map_of_sound_and_digits():
    theirs = (Codec("PCMA", 100, 8000), Codec("TELEPHONE-EVENT", 97, 8000))
    assert payload_map((PCMU, PCMA, EVENTS), theirs, "audio") == {
        0: Mapped(PCMU, theirs[0], transcode=True),
        8: Mapped(PCMA, theirs[0]),
        101: Mapped(EVENTS, theirs[1]),
    }


def test_pictures_and_digits_are_never_transcoded():
    assert payload_map((H264_1, VP8), (H264_0,), "video")[98] == Mapped(VP8, None)
    assert payload_map((EVENTS,), (PCMA,), "audio")[101] == Mapped(EVENTS, None)
    speex = Codec("SPEEX", 110, 16000)
    assert payload_map((speex,), (PCMA,), "audio")[110] == Mapped(speex, None)


def test_best_codec_to_make_sound_in():
    assert sound((EVENTS, Codec("SPEEX", 110, 16000), PCMU, PCMA)) == PCMU
    assert sound((EVENTS,)) is None


CODECS = st.lists(st.sampled_from([PCMA, PCMU, OPUS, EVENTS, H264_0, H264_1, VP8]), max_size=6).map(tuple)


@given(CODECS, CODECS)
def test_what_is_mapped_is_what_the_destination_takes(receive, send):
    for payload_type, mapped in payload_map(receive, send, "audio").items():
        assert mapped.source.payload_type == payload_type
        if mapped.destination is not None:
            assert mapped.destination in send
            assert mapped.transcode or mapped.destination.name == mapped.source.name


AMR = Codec("AMR", 97, 8000)
AMR_ALIGNED = Codec("AMR", 98, 8000, fmtp="octet-align=1")
AMR_FEW = Codec("AMR", 99, 8000, fmtp="mode-set=0,2")
AMR_WB = Codec("AMR-WB", 96, 16000)


def test_forms_of_amr_are_different_codecs():
    assert same(AMR, Codec("AMR", 100, 8000, fmtp="octet-align=0"))
    assert not same(AMR, AMR_ALIGNED)
    assert not same(AMR, AMR_FEW), "its modes could leave the set"
    assert same(AMR_FEW, AMR)
    assert same(AMR_FEW, Codec("AMR", 100, 8000, fmtp="mode-set=0,2;octet-align=0"))


def test_wide_band_amr_is_heard_and_never_made():
    assert sound((AMR_WB, EVENTS)) is None
    assert sound((AMR_WB, AMR_ALIGNED)) == AMR_ALIGNED
    assert payload_map((AMR_WB,), (PCMA,), "audio")[96] == Mapped(AMR_WB, PCMA, transcode=True)
    assert payload_map((PCMA,), (AMR_WB, AMR), "audio")[8] == Mapped(PCMA, AMR, transcode=True)
    assert payload_map((AMR_WB,), (AMR_WB,), "audio")[96] == Mapped(AMR_WB, AMR_WB)
