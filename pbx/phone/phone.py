"""One scripted phone from start to end: register, call, talk, hang up, report. `caller` and `desk` say what is different.

plan ─▶ REGISTER ─▶ INVITE ─▶ media until --seconds, Ctrl-C or BYE ─▶ BYE, unregister ─▶ report
"""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pbx.location.writing import Circle, multipart, pidf_lo
from pbx.phone.media import PhoneMedia
from pbx.phone.report import Report
from pbx.phone.signalling import NoAnswerError, Signalling
from pbx.phone.user_agent import SDP, Account, UserAgent
from pbx.sip.errors import SipError
from pbx.sip.message import Response
from pbx.sip.uri import Uri
from pbx.tasks import Tasks

CALL_BACK_SECONDS: Final = (
    5.0  # how long a desk whose *10 was refused waits for the exchange to call it instead
)
SIGN_SECONDS: Final = 4.0  # no response for so long is worth a word: five sendings of the request are lost
FAREWELL_SECONDS: Final = 3.0  # for BYE and unregistering: who pressed Ctrl-C does not wait for timer F

Say = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for."""

    role: str
    """`caller` or `desk`."""
    server: tuple[str, int]
    target: Uri
    tone_hz: float
    account: Account | None = None
    seconds: float | None = None
    """From the answer on; a call nobody answers is given up after as long."""
    with_picture: bool = True
    location: Circle | None = None


class Phone:
    """One phone, one call."""

    def __init__(self, plan: Plan, say: Say) -> None:
        """`say(key, *values)` tells the person at the terminal what goes on (see `texts`)."""
        self._plan = plan
        self._say = say
        self._tasks = Tasks("phone")
        self._report = Report(plan.role)
        self._agent = UserAgent(
            self._signalling, Uri("sip", None, None, *plan.server), plan.account, self, self._tasks
        )
        self._media: PhoneMedia | None = None
        self._answered = asyncio.Event()
        self._over = asyncio.Event()

    def _signalling(self, agent: UserAgent) -> Signalling:
        return Signalling(self._plan.server, agent, self._tasks)

    async def run(self) -> tuple[dict[str, Any], bool]:
        """Do it all; the report and whether the call was answered."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._finish, "interrupt")
        try:
            await self._agent.signalling.start()
            host = self._agent.signalling.host
            picture = self._plan.with_picture
            self._media = PhoneMedia(
                self._plan.role, host, self._plan.tone_hz, with_picture=picture, tasks=self._tasks
            )
            if await self._registered():
                await self._live()
        except OSError as error:
            self._report.reason = str(error)
            self._say("no_network", error)
            self._finish("network")
        finally:
            await self._farewell()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        self._report.call_id = self._agent.call_id
        media = self._media
        report = self._report.as_json(
            None if media is None else media.sound, None if media is None else media.picture
        )
        return report, self._report.was_answered

    # --- the way through --------------------------------------------------------------------------------------------

    async def _registered(self) -> bool:
        if self._plan.account is None:
            return True
        asked = self._tasks.spawn(self._registering(), name="register")
        over = self._tasks.spawn(self._over.wait(), name="over")
        await asyncio.wait({asked, over}, return_when=asyncio.FIRST_COMPLETED)
        response = asked.result() if asked.done() else None
        if response is None:
            return False
        self._note(response)
        if response.status != 200:
            self._say("register_refused", response.status, response.reason)
            self._finish("refused")
            return False
        self._say("registered", self._plan.account.user)
        self._tasks.spawn(self._agent.stay_registered(), name="register")
        return True

    async def _live(self) -> None:
        ref = secrets.token_hex(6)
        limit = self._plan.seconds
        dialling = self._tasks.spawn(self._dial(ref), name="dial")
        over = self._tasks.spawn(self._over.wait(), name="over")
        await asyncio.wait({dialling, over}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not dialling.done():
            self._finish("us")
            self._agent.cancel(ref)
            if self._report.trying is not None:  # somebody is there to answer the CANCEL
                await asyncio.wait({dialling}, timeout=FAREWELL_SECONDS)
            dialling.cancel()
            return
        if not dialling.result() and not await self._called_back():
            return
        try:
            async with asyncio.timeout(limit):
                await self._over.wait()
        except TimeoutError:
            self._finish("us")

    async def _dial(self, ref: str) -> bool:
        loop = asyncio.get_running_loop()
        headers, content_type, body = self._body()
        self._say("calling", self._plan.target, _place(self._plan.server))
        self._report.invited = loop.time()
        try:
            with self._patience():
                response = await self._agent.invite(
                    self._plan.target,
                    body,
                    content_type,
                    ref=ref,
                    headers=headers,
                    on_provisional=self._provisional,
                )
        except NoAnswerError as failure:
            self._gave_up(failure)
            return False
        except SipError as error:
            self._report.sip_status, self._report.reason = error.status, error.reason
            self._say("refused", error.status, error.reason)
            self._finish("refused")
            return False
        if self._report.trying is None:
            self._report.trying = loop.time()
        self._note(response)
        if response.status >= 300:
            self._say("refused", response.status, response.reason)
            return False
        self.talking()
        return True

    def _body(self) -> tuple[tuple[tuple[str, str], ...], str, bytes]:
        offer = self.offer()
        if self._plan.location is None:
            return (), SDP, offer
        host = self._agent.signalling.host
        name = f"{secrets.token_hex(8)}@{host}"
        document = pidf_lo(
            self._plan.location,
            entity=f"pres:{self._agent.address.uri.user}@{self._plan.server[0]}",
            timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        content_type, body = multipart(offer, document, content_id=name, boundary=secrets.token_hex(12))
        # RFC 6442 §4.1: the cid: URI names the part whose Content-ID is the same in angle brackets.
        headers = (
            ("Geolocation", f"<cid:{name}>"),
            ("Geolocation-Routing", "yes"),
            ("Supported", "geolocation"),
        )
        return headers, content_type, body

    async def _called_back(self) -> bool:
        """A desk whose `*10` was refused may be called by the exchange instead."""
        if self._plan.role == "desk" and not self._over.is_set():
            try:
                async with asyncio.timeout(CALL_BACK_SECONDS):
                    await self._answered.wait()
            except TimeoutError:
                pass
        if not self._answered.is_set():
            self._finish("refused")
        return self._answered.is_set()

    async def _registering(self) -> Response | None:
        try:
            with self._patience():
                return await self._agent.register()
        except NoAnswerError as failure:
            self._gave_up(failure)
            return None

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        """Say so when the server lets us wait."""
        place = _place(self._plan.server)
        later = asyncio.get_running_loop().call_later(SIGN_SECONDS, self._say, "no_sign", place)
        try:
            yield
        finally:
            later.cancel()

    def _gave_up(self, failure: NoAnswerError) -> None:
        self._report.reason = failure.why
        self._say("no_answer", _place(self._plan.server))
        self._finish("timeout" if failure.why == "timeout" else "network")

    async def _farewell(self) -> None:
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._agent.hang_up()
                if self._agent.registered:
                    await self._agent.register(0)
        except (TimeoutError, NoAnswerError):
            pass  # the exchange is away; its own timers tidy up
        if self._media is not None:
            self._media.close()
        await self._agent.signalling.close()
        await self._tasks.close()

    def _finish(self, by: str) -> None:
        if self._report.ended_by is None:
            self._report.ended_by = by
            self._say("ended", by)
        self._over.set()

    def _note(self, response: Response) -> None:
        self._report.sip_status, self._report.reason = response.status, response.reason
        evidence = response.headers.get("X-At110-Evidence")
        if evidence:
            self._report.evidence_id = evidence

    def _provisional(self, response: Response) -> None:
        if self._report.trying is None:
            self._report.trying = asyncio.get_running_loop().time()
        if response.status > 100:
            self._say("progress", response.status, response.reason)
        evidence = response.headers.get("X-At110-Evidence")
        if evidence:
            self._report.evidence_id = evidence

    # --- `user_agent.Owner` -----------------------------------------------------------------------------------------

    def offer(self) -> bytes:
        assert self._media is not None, "calls come after the ports"
        return self._media.offer()

    def accept(self, answer: bytes) -> None:
        assert self._media is not None, "calls come after the ports"
        self._media.accept(answer)

    def answer(self, offer: bytes) -> bytes:
        assert self._media is not None, "calls come after the ports"
        return self._media.answer(offer)

    def take_call(self) -> bool:
        """A desk takes the exchange's call; a caller is not called."""
        return self._plan.role == "desk" and self._media is not None and not self._over.is_set()

    def talking(self) -> None:
        """The call stands: media flow."""
        assert self._media is not None, "calls come after the ports"
        loop = asyncio.get_running_loop()
        if self._report.invited is None:
            self._report.invited = loop.time()
        self._report.answered = loop.time()
        self._media.start()
        self._say("signed_in" if self._plan.role == "desk" else "answered")
        self._answered.set()

    def text(self, text: str) -> None:
        """Keep and show a message."""
        self._report.messages.append(text)
        self._say("message", text)

    def fast_update(self) -> None:
        """Make a key frame."""
        if self._media is not None:
            self._media.send_key_frame()
        self._say("key_frame")

    def ended(self, by: str) -> None:
        """The other side ended it."""
        self._finish(by)


def _place(server: tuple[str, int]) -> str:
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
