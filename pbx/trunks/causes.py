"""Why a call over a trunk ended: causes of Q.850 and statuses of SIP, one made of the other, and what they mean to a person.

in → out: a cause or a status → the other (RFC 3398 §7.2.4.1, §8.2.6.1), a text in Chinese and English, a Reason header
(RFC 3326).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pbx.sip import reason


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of Q.850, table 1."""

    number: int
    status: int
    """What it is in SIP (RFC 3398 §7.2.4.1)."""
    zh: str
    en: str


CAUSES: Final[Mapping[int, Cause]] = {
    cause.number: cause
    for cause in (
        Cause(1, 404, "空号", "Unallocated number"),
        Cause(2, 404, "无路由到指定网络", "No route to network"),
        Cause(3, 404, "无路由到目的地", "No route to destination"),
        Cause(16, 480, "正常挂断", "Normal call clearing"),
        Cause(17, 486, "对方忙", "User busy"),
        Cause(18, 408, "对方无响应", "No user responding"),
        Cause(19, 480, "对方无人接听", "No answer from user"),
        Cause(20, 480, "对方不在服务区", "Subscriber absent"),
        Cause(21, 403, "呼叫被拒绝", "Call rejected"),
        Cause(22, 410, "号码已更改", "Number changed"),
        Cause(26, 404, "未选择该用户", "Non-selected user clearing"),
        Cause(27, 502, "目的地故障", "Destination out of order"),
        Cause(28, 484, "号码不完整", "Invalid number format"),
        Cause(29, 501, "业务被拒绝", "Facility rejected"),
        Cause(31, 480, "正常，未指定", "Normal, unspecified"),
        Cause(34, 503, "无可用电路", "No circuit available"),
        Cause(38, 503, "网络故障", "Network out of order"),
        Cause(41, 503, "临时故障", "Temporary failure"),
        Cause(42, 503, "交换设备拥塞", "Switching equipment congestion"),
        Cause(47, 503, "资源不可用", "Resource unavailable"),
        Cause(55, 403, "闭合用户群内呼入受限", "Incoming calls barred within closed user group"),
        Cause(57, 403, "承载能力未授权", "Bearer capability not authorized"),
        Cause(58, 503, "承载能力暂不可用", "Bearer capability not presently available"),
        Cause(65, 488, "承载能力未实现", "Bearer capability not implemented"),
        Cause(70, 488, "只有受限数字承载", "Only restricted digital information available"),
        Cause(79, 501, "业务未实现", "Service not implemented"),
        Cause(87, 403, "不是闭合用户群成员", "User not member of closed user group"),
        Cause(88, 503, "目的地不兼容", "Incompatible destination"),
        Cause(102, 504, "定时器超时", "Recovery on timer expiry"),
        Cause(111, 500, "协议错误", "Protocol error"),
        Cause(127, 500, "互通，未指定", "Interworking, unspecified"),
    )
}
"""RFC 3398 §7.2.4.1, first table; texts are ours."""

_OF_STATUS: Final[Mapping[int, int]] = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127,
    415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17,
    487: 16, 488: 65, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1,
    606: 65,
}  # fmt: skip
"""RFC 3398 §8.2.6.1; 487, 488 and 606 as common practice has them."""

NORMAL: Final = 31
UNKNOWN: Final = 127


def of_status(status: int) -> int:
    """Return the cause a SIP status means: a class it does not know is that of its x00, as RFC 3261 §8.1.3.2 reads it."""
    return _OF_STATUS.get(status) or _OF_STATUS.get(status // 100 * 100, UNKNOWN)


def status_of(cause: int) -> int:
    """Return the SIP status a cause means; for unknown ones 500 (RFC 3398 §7.2.4.1: "…the default … is 500")."""
    found = CAUSES.get(cause)
    return 500 if found is None else found.status


def stated(reasons: Iterable[Mapping[str, str | int | None]]) -> int | None:
    """Return the Q.850 cause among what a peer gave as its reasons (`pbx.sip.reason.read`)."""
    for found in reasons:
        protocol, number = found["protocol"], found["cause"]
        if isinstance(protocol, str) and protocol.upper() == "Q.850" and isinstance(number, int):
            return number
    return None


def told(status: int | None, reasons: Iterable[Mapping[str, str | int | None]] = ()) -> dict[str, str | int]:
    """Return what a person is told of an end: `cause`, `zh`, `en`. What the peer gave as cause goes before its status."""
    number = stated(reasons)
    if number is None:
        number = NORMAL if status is None else of_status(status)
    known = CAUSES.get(number)
    if known is None:
        return {"cause": number, "zh": f"原因 {number}", "en": f"Cause {number}"}
    return {"cause": number, "zh": known.zh, "en": known.en}


def header(cause: int) -> reason.Header:
    """Return a Reason header for what we send there."""
    known = CAUSES.get(cause)
    return reason.header("Q.850", cause, f"Cause {cause}" if known is None else known.en)
