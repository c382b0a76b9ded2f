"""`at110 why`, `at110 statistics` and `at110 simulate`: what the queue did, how well, and how it would do.

in → out: arguments and settings → text in both languages on standard output. Reads files; never talks to the exchange
unless the call is not among the evidence here.
"""

import argparse
import datetime as dt
import json
import os
import random
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pbx.call import raw_events
from pbx.call.keeping import LOG_FOLDER
from pbx.call.ledger import read
from pbx.call.routing_service import decisions
from pbx.queue_settings import rules
from pbx.settings import Settings, SettingsError, load
from recordings.events import read_events
from recordings.folder import EVENTS_NAME
from routing import plot
from routing.simulation import Plan, Simulation
from routing.statistics import Period, compute

API_SECONDS: Final = 10.0

CLASSES: Final = {
    "head": ("队首", "head of the queue"),
    "danger": ("危险", "in danger"),
    "authority": ("优先（RFC 4412）", "priority (RFC 4412)"),
    "raised": ("人工提前", "raised by hand"),
    "normal": ("普通", "normal"),
    "held": ("暂缓", "held back"),
}
RULES: Final = {
    "longest-idle": ("空闲最久", "idle longest"),
    "fewest-calls": ("接警最少", "fewest calls"),
    "round-robin": ("轮流", "in turn"),
    "same-dispatcher": ("原接警员", "the same dispatcher as before"),
    "by-hand": ("人工接管", "taken over by hand"),
    "waits": ("等待", "waits"),
}
VERDICTS: Final = {
    "free": ("空闲", "free"),
    "busy": ("通话中", "in a call"),
    "wrap_up": ("话后整理", "wrap-up"),
    "away": ("离席", "away"),
    "other_queue": ("不属本队列", "serve other queues"),
    "skill": ("缺少技能", "lack a skill"),
    "reserved": ("指定他席", "waits for another desk"),
    "came_from": ("刚由其转出", "just handed over from there"),
}
LINES: Final = {
    "call_arrived": ("呼入队列 {queue}", "arrives, queue {queue}"),
    "put_through": ("接通坐席 {desk}，等待 {seconds} 秒", "put through to desk {desk} after {seconds} s"),
    "desk_lost": ("离开坐席 {desk}（{why}）", "leaves desk {desk} ({why})"),
    "same_incident": ("同一警情 {incident}（{why}）", "same incident {incident} ({why})"),
    "overflow": ("溢出：{queue} → {to}（{why}）", "overflow: {queue} → {to} ({why})"),
    "overflow_wanted": (
        "尝试中继 {trunk}（{why}），继续等待",
        "trunk {trunk} is called ({why}), keeps waiting",
    ),
    "overflow_answered": ("中继 {trunk} 已应答", "trunk {trunk} answered"),
    "overflow_failed": (
        "中继 {trunk} 未接通（{why}），{again} 秒后再试",
        "trunk {trunk} failed ({why}), again after {again} s",
    ),
    "overflow_cancelled": ("取消中继 {trunk}", "trunk {trunk} is not needed any more"),
    "desk_sent_no_sound": (
        "坐席 {desk} 接通 {seconds} 秒没有声音，移出：{put_away}",
        "desk {desk} sent no sound for {seconds} s, put away: {put_away}",
    ),
    "takeover_failed": ("坐席 {desk} 接管失败（{why}）", "takeover by desk {desk} failed ({why})"),
    "desk_not_coming": (
        "坐席 {desk} 未接，转到队列 {queue} 队首",
        "desk {desk} did not come; head of queue {queue}",
    ),
    "prioritised": ("{by} 调整优先级：{class}", "{by} changes the class: {class}"),
    "call_superseded": ("被同一人的新呼叫取代", "replaced by a new call of the same person"),
    "call_ended": ("呼叫结束（{cause}）", "ends ({cause})"),
    "reconciled": ("自动修复：{what}", "mended: {what}"),
}


# --- why ------------------------------------------------------------------------------------------------------------


def why(argv: Sequence[str]) -> int:
    """`at110 why CALL`: print every decision about a call. 0 when there are any."""
    parser = argparse.ArgumentParser(
        prog="at110 why", description="为什么由该坐席接警 · Who got a call, and why"
    )
    parser.add_argument("call", help="呼叫编号或证据目录 · id of the call, or its evidence folder")
    wanted = parser.parse_args(argv)
    settings = _settings()
    if settings is None:
        return 2
    try:
        found = _decisions(settings, wanted.call)
    except (OSError, ValueError) as error:
        print(f"at110: {error}", file=sys.stderr)
        return 1
    if not found:
        print(f"at110: 没有这个呼叫 · there is no such call: {wanted.call}", file=sys.stderr)
        return 1
    for event in found:
        print("\n".join(explain(event)))
    return 0


def _decisions(settings: Settings, call: str) -> Sequence[Mapping[str, Any]]:
    here = Path(call)
    folder = here if (here / EVENTS_NAME).is_file() else settings.evidence_folder / here.name
    events = read_events(folder / EVENTS_NAME)
    if events:
        return decisions(events)
    token = json.loads(settings.credentials.read_bytes())["api_token"]
    host = settings.http.host if settings.http.host not in {"0.0.0.0", "::"} else "127.0.0.1"
    url = f"http://{host}:{settings.http.port}/api/calls/{here.name}/why"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:  # noqa: S310 - as above
            return list(json.load(answer)["why"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise


def explain(event: Mapping[str, Any]) -> list[str]:
    """Return the lines for one event, Chinese and English."""
    when, name = str(event.get("at", "")), str(event.get("event", ""))
    if name == "routed":
        return _decision(when, event)
    zh, en = LINES.get(name, (name, name))
    words = _Words({k: _plain(v) for k, v in event.items()})
    if "waited_ms" in event:
        words["seconds"] = f"{event['waited_ms'] / 1000:.1f}"
    return [f"{when}  {zh.format_map(words)} · {en.format_map(words)}"]


def _decision(when: str, event: Mapping[str, Any]) -> list[str]:
    (class_zh, class_en), (rule_zh, rule_en) = (
        CLASSES.get(str(event.get("class")), ("?", "?")),
        RULES.get(str(event.get("rule")), ("?", "?")),
    )
    desk, queue, position = (_plain(event.get(name)) for name in ("desk", "queue", "position"))
    if event.get("desk") is None:
        head = f"{when}  排队 {queue} 第{position}位，类别：{class_zh} · waits in {queue} at {position}, class: {class_en}"
    else:
        head = (
            f"{when}  选中 {desk}：{rule_zh}，类别：{class_zh} · chosen {desk}: {rule_en}, class: {class_en}"
        )
    lines = [head]
    for one in event.get("candidates") or ():
        c = _Words({k: _plain(v) for k, v in one.items()})
        text = (
            "    {desk}  技能分 score {score}  级别 level {level}  空闲 idle {idle} s  已接 served {served}"
        )
        lines.append(text.format_map(c))
    for verdict, count in (event.get("others") or {}).items():
        zh, en = VERDICTS.get(verdict, (verdict, verdict))
        lines.append(f"    {count} × {zh} · {en}")
    return lines


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _plain(value: object) -> str:
    """Return a value as text a terminal can show: no control characters out of anybody's message."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(value))


# --- statistics -------------------------------------------------------------------------------------------------------


def statistics(argv: Sequence[str]) -> int:
    """`at110 statistics`: print the figures of the routing log as JSON or as a table."""
    parser = argparse.ArgumentParser(
        prog="at110 statistics", description="接警统计 · How well callers were served"
    )
    parser.add_argument("--since", help="起始日期 · first day, YYYY-MM-DD (today)")
    parser.add_argument("--until", help="截止日期（含）· last day, YYYY-MM-DD (as --since)")
    parser.add_argument("--period", choices=("hour", "day", "month"), default="hour")
    parser.add_argument("--zone", default="Asia/Shanghai", help="时区 · time zone (Asia/Shanghai)")
    parser.add_argument("--json", action="store_true", help="输出 JSON · print JSON")
    parser.add_argument(
        "--from-events",
        type=Path,
        metavar="FOLDER",
        help="由证据目录的原始事件重新计算 · compute again from the raw events of the evidence in FOLDER",
    )
    wanted = parser.parse_args(argv)
    settings = _settings()
    if settings is None:
        return 2
    if wanted.from_events is not None and not wanted.from_events.is_dir():
        parser.error(f"没有这个目录 · there is no such folder: {wanted.from_events}")
    try:
        zone = ZoneInfo(wanted.zone)
        first = _day(wanted.since, zone)
        last = _day(wanted.until or wanted.since, zone) + dt.timedelta(days=1)
        since, until = first.timestamp(), min(last.timestamp(), dt.datetime.now(zone).timestamp())
        log = settings.state / LOG_FOLDER
        raw = wanted.from_events
        events = read(log, since, until) if raw is None else raw_events.read(raw, log, since, until)
        period = cast("Period", wanted.period)
        found = compute(events, since=since, until=max(since, until), zone=zone, period=period).view()
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        print(f"at110: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=2) if wanted.json else "\n".join(table(found)))
    return 0


def _day(text: str | None, zone: dt.tzinfo) -> dt.datetime:
    day = dt.datetime.now(zone).date() if text is None else dt.date.fromisoformat(text)
    return dt.datetime.combine(day, dt.time(), zone)


COLUMNS: Final = (
    ("arrived", "呼入 arrived"),
    ("answered", "接通 answered"),
    ("abandoned", "放弃 abandoned"),
    ("service_level", "15秒接通率 in 15 s"),
    ("pick_up_level", "15秒应答率 picked up"),
    ("speed_of_answer", "平均等待 mean wait s"),
    ("wait_p90", "p90 s"),
    ("occupancy", "占用率 occupancy"),
)


def table(view: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines for a terminal."""
    lines = [" | ".join(["", *(title for _, title in COLUMNS)])]
    rows = [("合计 total", view["total"])]
    groups = (
        ("queues", "队列 queue"),
        ("districts", "辖区 district"),
        ("agents", "接警员 agent"),
        ("buckets", ""),
    )
    for group, name in groups:
        rows += [(f"{name} {key}".strip(), figures) for key, figures in view[group].items()]
    for name, figures in rows:
        lines.append(
            " | ".join([name, *("–" if figures[k] is None else str(figures[k]) for k, _ in COLUMNS)])
        )
    return lines


# --- simulate ---------------------------------------------------------------------------------------------------------


def simulate(argv: Sequence[str]) -> int:
    """`at110 simulate`: live a day of arrivals through the real queue and print what came of it."""
    parser = argparse.ArgumentParser(
        prog="at110 simulate", description="模拟一天的呼入 · Simulate a day of calls"
    )
    parser.add_argument("--calls", type=float, default=20_000.0, help="全天呼入 · arrivals of the day")
    parser.add_argument("--seats", type=int, default=300, help="坐席数 · seats")
    parser.add_argument("--talk", type=float, default=150.0, help="平均通话秒数 · mean talk, s")
    parser.add_argument("--patience", type=float, default=300.0, help="平均耐心秒数 · mean patience, s")
    parser.add_argument(
        "--burst", type=int, default=200, help="一分钟内突发 · calls within one minute at 19:00"
    )
    parser.add_argument(
        "--seed", type=int, default=110, help="随机种子 · seed; the same seed gives the same day"
    )
    parser.add_argument("--svg", type=Path, help="另存图像 · write the plot there too")
    wanted = parser.parse_args(argv)
    if not (0 <= wanted.calls <= 1e6 and 1 <= wanted.seats <= 10_000 and 0 <= wanted.burst <= 100_000):
        parser.error("calls 0…1000000, seats 1…10000, burst 0…100000")
    if not (0 < wanted.talk <= 86_400 and 0 < wanted.patience <= 86_400):
        parser.error("talk and patience: more than 0, at most 86400")
    settings = _settings()
    if settings is None:
        return 2
    plan = Plan(wanted.calls, wanted.seats, wanted.talk, wanted.patience, wanted.burst)
    day = Simulation(plan, rules(settings.queue), random.Random(wanted.seed).random).run()  # noqa: S311 - no secret
    figures = compute(day.events, since=0.0, until=plan.day, zone=dt.UTC).total.view()
    for key in ("arrived", "answered", "abandoned"):
        print(f"{key:<18}{figures[key]}")
    for key in ("wait_p50", "wait_p90", "wait_p99", "wait_max", "speed_of_answer"):
        print(f"{key:<18}{'–' if figures[key] is None else format(figures[key], '.2f')} s")
    for key in ("service_level", "abandoned_share", "occupancy"):
        print(f"{key:<18}{'–' if figures[key] is None else format(100 * figures[key], '.2f')} %")
    print(f"{'lost':<18}{day.lost}")
    print("\n同时等待 · waiting at once")
    print("\n".join(plot.text(day.waiting, plan.day)))
    if wanted.svg is not None:
        title = f"110: {wanted.calls:.0f} calls, {wanted.seats} seats: waiting at once 同时等待"
        wanted.svg.write_text(plot.svg(day.waiting, plan.day, title=title), "utf-8")
    return 0 if day.lost == 0 else 1


def _settings() -> Settings | None:
    try:
        return load(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            print(f"at110: {problem}", file=sys.stderr)
        return None
