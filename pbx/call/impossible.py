"""Why a verb can't be done, in both languages."""

from dataclasses import dataclass
from typing import Final


@dataclass
class Impossible(Exception):  # noqa: N818 - the word that fits; it is no bug of anybody
    """A verb can't be done now. `code` names the reason: see `REASONS`."""

    code: str

    @property
    def texts(self) -> tuple[str, str]:
        """What people read, in Chinese and English."""
        return REASONS[self.code]

    def __str__(self) -> str:
        return REASONS[self.code][1]


REASONS: Final = {
    "not_registered": ("该坐席的电话没有注册", "The desk's phone is not registered"),
    "signed_out": ("该坐席没有签入", "The desk is not signed in"),
    "signed_in": ("该坐席已经签入", "The desk is signed in already"),
    "no_call": ("该坐席没有通话", "The desk has no caller"),
    "unknown_call": ("没有这个呼叫", "There is no such call"),
    "unknown_desk": ("没有这个坐席", "There is no such desk"),
    "not_silent": ("该呼叫不在静默模式", "The call is not in silent mode"),
    "no_desk_call": ("没有正在进行的咨询", "No consultation is going on"),
    "has_call": ("该坐席正在通话", "The desk has a caller"),
    "busy": ("对方坐席正忙", "The other desk is busy"),
    "visiting": ("该坐席正在别的房间", "The desk is in another room"),
    "itself": ("不能转给自己", "A desk can't do that with itself"),
    "consulting": ("已在咨询或转接", "A consultation or transfer is going on already"),
    "unknown_target": ("没有这个目标", "There is no such target"),
    "is_caller": ("报警人账号不能加入通话", "A caller's account can't join a call"),
    "unknown_trunk": ("没有这个中继", "There is no such trunk"),
    "no_trunk": ("没有可用的中继", "No trunk takes this number now"),
    "trunk_full": ("中继已满", "The trunk has no free line"),
    "trunk_busy": ("对方交换机过载", "The other exchange is overloaded"),
    "too_many_hops": ("呼叫已经过太多交换机", "The call has come over too many exchanges"),
    "bad_number": ("号码无效", "This is no number that can be called"),
    "unknown_district": ("没有这个辖区", "There is no such district"),
    "unknown_queue": ("没有这个队列", "There is no such queue"),
    "no_way": ("无法转接，请重试", "That could not be done; try again"),
    "no_staff": ("房间里没有这个人", "That one is not in the room"),
    "full_room": ("房间人数已达上限", "The room has as many people as it may"),
    "not_supervisor": ("该坐席没有督导权限", "The desk's account may not supervise"),
    "bad_picture": ("只能是 on、off 或 still", "Only on, off or still"),
    "not_asked": (
        "需先申请关闭静默，并在10秒内确认",
        "Ask to switch silent mode off first, then confirm within 10 s",
    ),
}
