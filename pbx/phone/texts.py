"""What the scripted phones say to the person at the terminal, in English and Chinese."""

import os
from collections.abc import Mapping
from typing import Final

Language = str  # "en" or "zh"

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "about_call": (
        "Place a scripted video call with a tone and a moving test picture.",
        "发起一次脚本视频呼叫：发送单音和带时钟的测试画面。",
    ),
    "about_desk": (
        "A scripted dispatcher: register, sign in by dialling *10, stay.",
        "脚本接警席：注册，拨 *10 签入并保持在线。",
    ),
    "help_to": ("whom to call: a number or a URI (default: 110)", "呼叫目标：号码或 URI（默认 110）"),
    "help_server": (
        "the exchange, HOST:PORT (default: 127.0.0.1 and $AT110_SIP_PORT or 5060)",
        "交换机地址 HOST:PORT（默认 127.0.0.1，端口取 $AT110_SIP_PORT 或 5060）",
    ),
    "help_user": ("account to register with", "注册账号"),
    "help_password": ("its password", "账号密码"),
    "help_seconds": ("hang up after so many seconds", "若干秒后挂断"),
    "help_silent": ("ask for silent mode", "请求静默模式"),
    "help_audio_only": ("a phone without camera", "无摄像头的话机"),
    "help_location": ("tell a place: degrees north, degrees east, metres", "上报位置：纬度,经度,半径（米）"),
    "help_json": ("print nothing but the JSON report", "只输出 JSON 结果"),
    "bad_arguments": ("wrong arguments: {}", "参数错误：{}"),
    "together": ("--user and --password go together", "--user 与 --password 必须同时给出"),
    "bad_server": ("not HOST:PORT: {}", "不是 HOST:PORT：{}"),
    "bad_seconds": ("not a number of seconds: {}", "不是秒数：{}"),
    "bad_target": ("not a number or URI to call: {}", "不是可呼叫的号码或 URI：{}"),
    "bad_location": ("not LAT,LON,RADIUS: {}", "不是 纬度,经度,半径：{}"),
    "registered": ("registered as {}", "已注册：{}"),
    "register_refused": ("registration refused: {} {}", "注册被拒绝：{} {}"),
    "calling": ("calling {} at {}", "正在呼叫 {}（{}）"),
    "no_sign": ("nothing heard from {} yet, still trying", "{} 暂无应答，继续尝试"),
    "progress": ("{} {}", "{} {}"),
    "answered": ("answered", "已接通"),
    "signed_in": ("signed in, waiting for calls (Ctrl-C to end)", "已签入，等待来电（Ctrl-C 结束）"),
    "refused": ("refused: {} {}", "被拒绝：{} {}"),
    "no_answer": ("no answer from {}", "{} 无应答"),
    "no_network": ("cannot start: {}", "无法启动：{}"),
    "message": ("message: {}", "消息：{}"),
    "key_frame": ("the other side asked for a key frame", "对方请求关键帧"),
    "ended": ("call over ({})", "通话结束（{}）"),
    "by_us": ("by us", "本端挂断"),
    "by_peer": ("by the other side", "对方挂断"),
    "by_interrupt": ("interrupted", "被中断"),
    "by_refused": ("refused", "被拒绝"),
    "by_timeout": ("no answer", "超时无应答"),
    "by_network": ("network", "网络故障"),
}


def language(environment: Mapping[str, str] = os.environ) -> Language:
    """`zh` or `en`, by the first of LC_ALL, LC_MESSAGES and LANG that is set (POSIX.1-2017 §8.2)."""
    chosen = next((environment[n] for n in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(n)), "")
    return "zh" if chosen.lower().startswith("zh") else "en"


def say(chosen: Language, key: str, *values: object) -> str:
    """One text with its values."""
    return TEXTS[key][chosen == "zh"].format(*values)
