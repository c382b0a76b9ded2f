"""What the settings mean for the machines: the site, its emergency numbers, how many calls it has ports for. Pure values."""

import ipaddress

from pbx import listening
from pbx.call.encrypting import EncryptionRules
from pbx.call.leg import LegSetup
from pbx.call.site import Policy, Site
from pbx.location import presence_uri
from pbx.location.district_file import load_districts
from pbx.location.origins import may_ask
from pbx.queue_settings import rules
from pbx.sdp.capabilities import CAPABILITIES
from pbx.settings import Settings, SettingsError
from pbx.sip.session_timer import SessionSettings
from pbx.targets import EmergencySettings
from routing.districts import DistrictsError


def site(settings: Settings) -> Site:
    """Return what the exchange is set up with. Raises SettingsError when the districts can't be used."""
    try:
        districts = load_districts(settings.location, settings.state)
    except DistrictsError as error:
        raise SettingsError([f"location.districts: {error}"]) from None
    host = settings.sip.public_host
    language = settings.queue.language
    other = "en" if language == "zh" else "zh"
    return Site(
        legs=LegSetup(
            CAPABILITIES,
            address=host,
            bind=settings.sip.host.strip("[]"),
            session=SessionSettings(settings.sip.session_seconds, settings.sip.min_session_seconds),
            languages=settings.queue.spoken,
            loopback_ok=ipaddress.ip_address(settings.sip.host.strip("[]")).is_loopback,
            own=listening.own(settings),
        ),
        policy=Policy(
            folder=str(settings.evidence_folder),
            languages=(language, other),
            host_picture=settings.media.host_picture,
            host_picture_in_silent=settings.media.host_picture_in_silent,
            stay_seconds=settings.queue.stay_seconds,
        ),
        host=host,
        port=settings.sip.port,
        wrap_up=settings.queue.wrap_up_seconds,
        routing=rules(settings.queue),
        districts=districts,
        may_ask=may_ask(settings.location.servers),
        presence_servers=frozenset(
            found for text in settings.location.presence_servers if (found := presence_uri.server(text))
        ),
        lost=settings.location.lost is not None,
        encryption=EncryptionRules(
            settings.media.encryption, settings.media.encryption_for, settings.media.sdes_in_clear
        ),
        asymmetric=frozenset(settings.media.asymmetric),
        hands=settings.hands,
    )


def port_pairs(settings: Settings) -> int:
    """How many pairs of media ports there are; a call takes one for its sound and one for its picture."""
    first = settings.media.port_min + settings.media.port_min % 2
    return (settings.media.port_max - first + 1) // 2


def emergency(settings: Settings) -> EmergencySettings:
    """What means 110 here."""
    return EmergencySettings(numbers=("110", *settings.emergency.numbers))
