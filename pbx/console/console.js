// The dispatcher's page: what the event feed says, drawn anew; what the buttons say, posted to the API.
// Everything that came from a phone goes through textContent and nothing else.
"use strict";

const TEXT = {
  zh: {
    title: "110 视频接警台", language: "English", logout: "退出", login: "登录", user: "账号（用接口口令登录时留空）", token: "密码或接口口令",
    token_hint: "接口口令在状态目录的 credentials.json 中（api_token）。核实身份和标记来电须以本人账号登录。",
    identities: "身份核实", account: "账号", real_name: "真实姓名", telephone: "电话", document_number: "证件号码", verify: "核实",
    "resident-id": "居民身份证", passport: "护照", other: "其他证件", "in-person": "当面查验", records: "查档", remote: "远程",
    change: "待确认的变更", confirm: "确认", withdraw: "撤回", asked_by: "{n} 提出", hoax: "标记虚假", nuisance: "标记骚扰", marked: "已标记",
    not_placed: "位置未知", deaf: "听障（手语）", speech: "无法说话（文字）", tag: "语言，如 zh", set_needs: "记录沟通需要", needs_noted: "沟通需要已记录",
    blocked: "账号已停用", names_blocked: "所称账号已停用，未证实为本人", block: "停用", unblock: "恢复", why_blocked: "停用原因（接警员会看到）", marks: "来电标记", mark: "标记", said_by: "标记人", hoax_mark: "虚假报警", nuisance_mark: "骚扰", withdrawn_by: "{n} 已撤销",
    callbacks: "待回拨", whereabouts: "所在地", written: "来电人所写", rang_off: "挂断后", done: "办结", call_back: "回拨…",
    waiting: "排队中", active: "通话中", desks: "坐席", place: "位次", caller: "来电", identity: "身份", media: "媒体",
    since: "时长", silent: "静默", desk: "坐席", state: "状态", phone: "话机", acts: "操作",
    nobody_waiting: "无人排队", nobody_active: "没有通话", no_desks: "没有坐席账号",
    verified: "已核实", unverified: "未核实", unavailable: "无法核实",
    database_away: "数据库不可用", withheld: "对方隐藏身份", claimed: "自称：{name}",
    sound: "声音", picture: "图像", nothing: "无媒体", look: "显示图像",
    signed_out: "未签入", calling: "正在呼叫话机", free: "空闲", busy: "通话中", wrap_up: "话后整理", paused: "暂停", held: "保持",
    registered: "已注册", unregistered: "未注册",
    "sign-in": "签入", "sign-out": "签出", pause: "暂停", resume: "恢复", "end-call": "结束通话",
    visiting: "在别的房间", ringing: "正在呼叫", room_of: "在 {n} 的房间", in_room: "在场",
    hold: "保持", unhold: "取回", transfer: "转接…", consult: "咨询…", complete: "完成转接", cancel: "取消咨询", conference: "三方通话",
    take: "接管…", listen: "监听…", whisper: "耳语…", barge: "插话…", leave: "离开", add: "邀请…", remove: "请出", call: "呼叫…",
    ask_target: "对方（坐席、号码、queue 或 district:辖区）", ask_role: "角色", ask_desk: "由哪个坐席", ok: "确定", give_up: "放弃",
    helper: "协助", interpreter: "翻译", fire: "消防", ambulance: "急救", traffic: "交警", supervisor: "督导", dispatcher: "接警员",
    silent_badge: "静默", silent_on: "开启静默", silent_off: "关闭静默…",
    silent_off_title: "关闭静默模式？", keep_silent: "保持静默", silent_off_confirm: "确认关闭",
    silent_off_warning: "关闭后来电人会听到声音。只有确认不会危及来电人时才可关闭。",
    seconds_left: "剩余 {n} 秒", off_open: "关闭申请中",
    rank_head: "队首", rank_danger: "危险", rank_authority: "优先", rank_raised: "提前", rank_held: "暂缓",
    connecting: "正在连接…", live: "实时", lost: "连接中断，正在重连…",
    database_down: "数据库不可用（接警不受影响）", media_down: "媒体进程不可用", media_late: "媒体进程无响应", evidence_missing: "证据磁盘未挂载，呼叫未录制！", not_ready: "系统尚未就绪",
    not_recorded: "未能录制！", no_media: "没有收到媒体", no_picture: "没有收到图像", journal_failed: "本地日志写入失败",
    trunks: "中继", trunk: "中继", peers: "对端", calls: "通话", up: "正常", down: "中断", partly: "部分对端中断",
    out_of_service: "已停用", "in-service": "启用", "out-of-service": "停用", number_of_trunk: "号码来自中继 {trunk}",
    failed: "操作失败", expired: "登录已过期，请重新登录",
  },
  en: {
    title: "110 video call desk", language: "中文", logout: "Log out", login: "Log in", user: "Account (none: by API token)", token: "Password or API token",
    token_hint: "The API token stands in credentials.json in the state folder (api_token). Who verifies or marks somebody logs in by name.",
    identities: "Verified identities", account: "Account", real_name: "Real name", telephone: "Telephone", document_number: "Number of the document", verify: "Verify",
    "resident-id": "resident identity card", passport: "passport", other: "other document", "in-person": "seen in person", records: "from records", remote: "remotely",
    change: "Change that waits", confirm: "Confirm", withdraw: "Withdraw", asked_by: "asked by {n}", hoax: "Mark: hoax", nuisance: "Mark: nuisance", marked: "marked",
    not_placed: "place unknown", deaf: "deaf (sign language)", speech: "can't speak (text)", tag: "Language, such as zh", set_needs: "Note needs", needs_noted: "Needs noted",
    blocked: "account blocked", names_blocked: "names a blocked account, unproven", block: "Block", unblock: "Unblock", why_blocked: "Why (dispatchers read it)", marks: "Marks of callers", mark: "Mark", said_by: "Marked by", hoax_mark: "hoax", nuisance_mark: "nuisance", withdrawn_by: "withdrawn by {n}",
    callbacks: "To call back", whereabouts: "Whereabouts", written: "What they wrote", rang_off: "Since they hung up", done: "Done", call_back: "Call back…",
    waiting: "Waiting", active: "Active", desks: "Desks", place: "Place", caller: "Caller", identity: "Identity", media: "Media",
    since: "Duration", silent: "Silent", desk: "Desk", state: "State", phone: "Phone", acts: "Actions",
    nobody_waiting: "Nobody is waiting", nobody_active: "No calls", no_desks: "No desk accounts",
    verified: "verified", unverified: "unverified", unavailable: "can't be verified",
    database_away: "database away", withheld: "withheld", claimed: "calls itself: {name}",
    sound: "sound", picture: "picture", nothing: "no media", look: "show pictures",
    signed_out: "signed out", calling: "calling the phone", free: "free", busy: "in a call", wrap_up: "wrap-up", paused: "paused", held: "on hold",
    registered: "registered", unregistered: "not registered",
    "sign-in": "Sign in", "sign-out": "Sign out", pause: "Pause", resume: "Resume", "end-call": "End call",
    visiting: "in another room", ringing: "calling", room_of: "in the room of {n}", in_room: "present",
    hold: "Hold", unhold: "Take back", transfer: "Transfer…", consult: "Consult…", complete: "Hand over", cancel: "Cancel consultation", conference: "Three-way",
    take: "Take over…", listen: "Listen…", whisper: "Whisper…", barge: "Barge in…", leave: "Leave", add: "Join somebody…", remove: "Send out", call: "Call…",
    ask_target: "Whom (desk, number, queue or district:ID)", ask_role: "As", ask_desk: "By which desk", ok: "OK", give_up: "Never mind",
    helper: "helper", interpreter: "interpreter", fire: "fire brigade", ambulance: "ambulance", traffic: "traffic police", supervisor: "supervisor", dispatcher: "dispatcher",
    silent_badge: "SILENT", silent_on: "Silent on", silent_off: "Silent off…",
    silent_off_title: "Switch silent mode off?", keep_silent: "Keep silent", silent_off_confirm: "Switch off",
    silent_off_warning: "The caller will hear sound. Switch off only when that can't endanger the caller.",
    seconds_left: "{n} s left", off_open: "off requested",
    rank_head: "head", rank_danger: "danger", rank_authority: "priority", rank_raised: "raised", rank_held: "held back",
    connecting: "connecting…", live: "live", lost: "connection lost, reconnecting…",
    database_down: "database away (calls go on)", media_down: "media process away", media_late: "media process does not answer", evidence_missing: "the evidence disk is not mounted: CALLS ARE NOT RECORDED", not_ready: "not ready yet",
    not_recorded: "NOT RECORDED", no_media: "no media arrives", no_picture: "no picture arrives", journal_failed: "the local journal can't be written",
    trunks: "Trunks", trunk: "Trunk", peers: "Peers", calls: "Calls", up: "up", down: "down", partly: "a peer is down",
    out_of_service: "out of service", "in-service": "Put in service", "out-of-service": "Take out of service",
    number_of_trunk: "number by trunk {trunk}",
    failed: "That failed", expired: "The login has expired; log in again",
  },
};
const ACTS = {
  signed_out: ["sign-in"], calling: ["sign-out"], free: ["pause", "sign-out"], wrap_up: ["pause", "sign-out"],
  busy: ["end-call", "pause", "sign-out"], paused: ["resume", "sign-out"],
};
// Acts on a desk that want to know whom; and those that another desk does with it, which want to know who.
const ASKS_WHOM = ["transfer", "consult", "add", "call"];
const BY_ANOTHER = ["take", "listen", "whisper", "barge"];
const ALARM_SECONDS = 8;
const TRUNK_SECONDS = 5;
const CALLBACK_SECONDS = 5;
const LOOK_SECONDS = 1;
const SILENT_SECONDS = 40;

const $ = (id) => document.getElementById(id);
const shown = { calls: new Map(), desks: new Map(), trunks: [], callbacks: [], identities: [], marks: [], health: {}, skew: 0, link: "connecting" };
let language = "zh";
let feed = null;
let heard = 0;
let drawing = false;
let looking = false;
let byName = false;
const pictures = new Map();
const asked = new Set();

const t = (name) => (Object.hasOwn(TEXT[language], name) ? TEXT[language][name] : name);
const now = () => Date.now() / 1000 + shown.skew;

// Characters that turn the direction of writing around would let a caller's name rearrange what stands beside it.
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const clean = (text) => String(text).replace(TURNING, "\ufffd");

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = clean(text);
  if (className) node.className = className;
  return node;
}

function duration(since) {
  if (typeof since !== "number") return "";
  const all = Math.max(0, Math.floor(now() - since));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(all / 3600);
  return (hours ? `${hours}:` : "") + `${two(Math.floor(all / 60) % 60)}:${two(all % 60)}`;
}

function alarm(text) {
  $("alarm").textContent = text;
  $("alarm").hidden = !text;
  clearTimeout(alarm.timer);
  if (text) alarm.timer = setTimeout(() => alarm(""), ALARM_SECONDS * 1000);
}

async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST", credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    alarm(t("lost"));
    return null;
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  if (answer.status === 401 && path !== "/api/login") leave(t("expired"));
  else alarm(`${t("failed")}: ${told.error?.[language] ?? answer.status}`);
  return null;
}

// --- drawing ---------------------------------------------------------------------------------------------------

function button(name, act, className) {
  const node = make("button", t(name), className);
  node.type = "button";
  node.dataset.act = name;
  node.addEventListener("click", async () => {
    node.disabled = true;
    await act();
    node.disabled = false;
  });
  return node;
}

function callerCell(call) {
  const cell = make("td", call.name ? `${call.name}` : call.caller ?? "");
  const under = make("small", call.name ? `${call.caller ?? ""} · ${call.call}` : call.call);
  cell.append(under);
  if (call.trunk) cell.append(make("small", t("number_of_trunk").replace("{trunk}", call.trunk)));
  if (call.claimed) cell.append(make("small", t("claimed").replace("{name}", () => call.claimed)));
  cell.append(make("small", placeOf(call), "place"));
  // What the exchange advises stands in both languages already, what matters most first.
  for (const line of call.advice ?? []) cell.append(make("small", line, "advice"));
  if (call.alarm) cell.append(make("small", t(call.alarm), "warning"));
  if (byName) {
    for (const mark of ["hoax", "nuisance"]) {
      cell.append(button(mark, async () => {
        if (!(await post(`/api/calls/${encodeURIComponent(call.call)}/mark`, { mark }))) return;
        alarm(t("marked"));
        if (!$("identity-section").hidden) await askMarks();
      }));
    }
  }
  return cell;
}

// Where a caller is, who says so, and the district that is served for it.
function placeOf(call) {
  const at = call.place;
  const district = call.district?.name?.[language] ?? call.district?.district;
  if (!at) return [t("not_placed"), district].filter(Boolean).join(" · ");
  const position = typeof at.latitude === "number" ? `${at.latitude}, ${at.longitude} ±${at.radius ?? 0} m` : "";
  return [at.address?.[language], position, at.by, district].filter(Boolean).join(" · ");
}

function badgeCell(name, text) {
  const cell = make("td");
  cell.append(make("span", text ?? t(name), `badge ${/^[a-z_]+$/.test(name) ? name : ""}`));
  return cell;
}

// Exactly one of verified (by whom, when), unverified, unavailable (why); what a phone says of itself is not shown here.
function identityCell(call) {
  const cell = badgeCell(call.identity ?? "unverified");
  if (call.identity === "verified" && call.identity_by) {
    const at = typeof call.identity_at === "number" ? new Date(call.identity_at * 1000).toLocaleString(language) : "";
    cell.append(make("small", [call.identity_by, at].filter(Boolean).join(" · ")));
  }
  if (call.identity === "unavailable" && call.identity_why) cell.append(make("small", t(call.identity_why)));
  // Nobody proves to be a blocked account, so this never stands beside "verified".
  if (call.blocked) {
    cell.append(make("span", t("blocked"), "badge warning"));
    cell.append(make("small", [t("names_blocked"), blockOf(call.blocked)].filter(Boolean).join(" · ")));
  }
  return cell;
}

// By whom, when, why: as far as anybody kept it.
function blockOf(block) {
  const at = typeof block.at === "number" ? new Date(block.at * 1000).toLocaleString(language) : "";
  return [block.by, at, block.why].filter(Boolean).join(" · ");
}

function mediaCell(call) {
  const has = [call.audio && t("sound"), call.video && t("picture")].filter(Boolean);
  const cell = make("td", has.length ? has.join(" + ") : t("nothing"), has.length ? "" : "warning");
  if (looking && call.video && pictures.has(call.call)) cell.append(pictures.get(call.call));
  return cell;
}

// What callers show, once a second while somebody wants it. Each picture is swapped when the next one is there.
function look() {
  if (!feed || !looking) return pictures.clear();
  for (const id of pictures.keys()) if (!shown.calls.get(id)?.video) pictures.delete(id);
  for (const call of shown.calls.values()) {
    if (!call.video || call.state === "ended" || asked.has(call.call)) continue;
    asked.add(call.call);
    const next = new Image();
    next.className = "look";
    next.alt = t("picture");
    next.onload = () => {
      asked.delete(call.call);
      const before = pictures.get(call.call);
      pictures.set(call.call, next);
      if (before?.isConnected) before.replaceWith(next);
      else redraw();
    };
    next.onerror = () => asked.delete(call.call);
    next.src = `/api/calls/${encodeURIComponent(call.call)}/snapshot?${Date.now()}`;
  }
}

function timeCell(since) {
  const cell = make("td", duration(since), "time");
  cell.dataset.since = String(since ?? "");
  return cell;
}

function silentCell(call) {
  const cell = make("td");
  const path = `/api/calls/${encodeURIComponent(call.call)}/silent`;
  if (!call.silent) {
    cell.append(button("silent_on", () => post(path, { on: true })));
    return cell;
  }
  cell.append(make("span", t("silent_badge"), "badge silent"));
  if (typeof call.silent_off_until === "number" && call.silent_off_until > now()) {
    cell.append(make("span", t("off_open"), "badge warning"));
  }
  cell.append(button("silent_off", () => askSilentOff(call, path)));
  return cell;
}

// What hands can do at a desk now, beside signing in and out.
function handsOn(desk) {
  if (desk.state === "visiting") return ["leave"];
  if (desk.state === "free" || desk.state === "paused") return ["call"];
  if (desk.state !== "busy") return [];
  const staff = desk.staff ?? [];
  const held = shown.calls.get(desk.call)?.state === "held";
  const consulting = staff.some((one) => one.up && one.purpose === "consult");
  const names = consulting ? ["complete", "conference", "cancel"] : [held ? "unhold" : "hold", "transfer", "consult"];
  names.push("add");
  if (staff.some((one) => one.purpose === "help")) names.push("remove");
  return [...names, "take"];
}

function supervision(desk) {
  const watched = ["free", "busy", "wrap_up", "paused"].includes(desk.state);
  return watched && [...shown.desks.values()].some((one) => one.supervisor) ? ["listen", "whisper", "barge"] : [];
}

async function hand(desk, name) {
  const path = (user) => `/api/desks/${encodeURIComponent(user)}/${name}`;
  if (BY_ANOTHER.includes(name)) {
    const asked = await ask(`${t(name)} ${desk.desk}`, "ask_desk", false);
    if (asked) await post(path(asked.text), { target: desk.desk });
  } else if (ASKS_WHOM.includes(name)) {
    const asked = await ask(t(name), "ask_target", name === "add");
    if (asked) await post(path(desk.desk), name === "add" ? { target: asked.text, role: asked.role } : { target: asked.text });
  } else {
    await post(path(desk.desk));
  }
}

// Ask for one word, and, where it matters, for what somebody is there as; null when the person thinks better of it.
async function ask(title, what, wantsRole) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-what").textContent = t(what);
  $("ask-text").value = "";
  $("ask-role").hidden = !wantsRole;
  for (const option of $("ask-role").options) option.textContent = t(option.value);
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  const text = $("ask-text").value.trim();
  return dialog.returnValue === "confirm" && text ? { text, role: $("ask-role").value } : null;
}

function deskRow(desk) {
  const row = make("tr");
  const who = make("td", desk.desk);
  if (desk.visits) who.append(make("small", t("room_of").replace("{n}", desk.visits)));
  for (const one of desk.staff ?? []) {
    who.append(make("small", `${one.who} · ${t(one.role)} · ${t(one.up ? "in_room" : "ringing")}`));
  }
  const state = badgeCell(desk.state);
  if (desk.reason) state.append(" ", make("small", desk.reason));
  row.append(who, state, badgeCell(desk.registered ? "registered" : "unregistered"));
  row.append(timeCell(desk.state === "signed_out" ? null : desk.since));
  const acts = make("td");
  for (const name of ACTS[desk.state] ?? []) {
    const path = `/api/desks/${encodeURIComponent(desk.desk)}/${name}`;
    acts.append(button(name, () => post(path), name === "end-call" ? "danger" : ""));
  }
  for (const name of [...handsOn(desk), ...supervision(desk)]) acts.append(button(name, () => hand(desk, name)));
  row.append(acts);
  return row;
}

function trunkRow(trunk) {
  const row = make("tr");
  const peers = make("td");
  for (const peer of trunk.peers) {
    const state = make("span", `${peer.peer}: ${t(peer.up ? "up" : "down")}`, `badge${peer.up ? "" : " warning"}`);
    peers.append(state, " ");
  }
  const act = trunk.in_service ? "out-of-service" : "in-service";
  const acts = make("td");
  acts.append(button(act, async () => {
    await post(`/api/trunks/${encodeURIComponent(trunk.trunk)}/${act}`);
    await askTrunks();
  }));
  const calls = trunk.capacity ? `${trunk.calls} / ${trunk.capacity}` : String(trunk.calls);
  row.append(make("td", trunk.trunk), badgeCell(trunk.state), peers, make("td", calls), acts);
  return row;
}

// The feed tells what happens to trunks, not what they are: that is asked for, every few seconds while somebody looks.
async function askTrunks() {
  if (!feed) return;
  const answer = await fetch("/api/trunks", { credentials: "same-origin" }).catch(() => null);
  if (!answer?.ok) return;
  shown.trunks = (await answer.json()).trunks;
  redraw();
}

// --- callers who hung up before anybody took them ---

function callbackRow(task) {
  const row = make("tr");
  const who = make("td", task.name ?? task.number ?? "");
  who.append(make("small", task.name ? `${task.number ?? ""} · ${task.call}` : task.call));
  if (task.silent) who.append(make("span", t("silent_badge"), "badge silent"));
  if (task.blocked) who.append(make("span", t("blocked"), "badge warning"), make("small", blockOf(task.blocked)));
  const written = make("td");
  for (const one of task.texts) {
    written.append(make("small", [new Date(one.at * 1000).toLocaleTimeString(language), one.text].filter(Boolean).join(" ")));
  }
  const acts = make("td");
  // Whoever calls back from here keeps incident and evidence together. A silent caller's phone must not ring.
  const target = task.account ?? task.number;
  if (target && !task.silent) {
    acts.append(button("call_back", async () => {
      const asked = await ask(`${t("call_back")} ${target}`, "ask_desk", false);
      if (asked) await post(`/api/desks/${encodeURIComponent(asked.text)}/call`, { target, call: task.call });
    }));
  }
  acts.append(button("done", async () => {
    await post(`/api/callbacks/${encodeURIComponent(task.call)}/done`);
    await askCallbacks();
  }));
  const seen = make("td", task.picture ? t("picture") : "");
  row.append(who, make("td", placeOf(task)), written, seen, timeCell(task.abandoned), acts);
  return row;
}

async function askCallbacks() {
  if (!feed) return;
  const answer = await fetch("/api/callbacks", { credentials: "same-origin" }).catch(() => null);
  if (!answer?.ok || !feed) return;
  shown.callbacks = (await answer.json()).callbacks;
  redraw();
}

// --- identities: whoever may see them logged in by name; the second person confirms what the first one asked ---

async function askIdentities() {
  const answer = feed && byName ? await fetch("/api/identities", { credentials: "same-origin" }).catch(() => null) : null;
  $("identity-section").hidden = !answer?.ok || !feed;
  const found = answer?.ok ? (await answer.json()).identities : [];
  if (!answer?.ok || !feed) return;
  shown.identities = found;
  drawIdentities();
  await askMarks();
}

function drawIdentities() {
  $("identities").replaceChildren(...shown.identities.map(identityRow));
  $("marks").replaceChildren(...shown.marks.map(markRow));
  $("mark-table").hidden = shown.marks.length === 0;
}

// What dispatchers thought of callers; a supervisor takes a mark back, an administrator sees none.
async function askMarks() {
  const answer = await fetch("/api/marks", { credentials: "same-origin" }).catch(() => null);
  const found = answer?.ok ? (await answer.json()).marks : [];
  shown.marks = feed ? found : [];
  drawIdentities();
}

function markRow(one) {
  const row = make("tr");
  const what = make("td", t(`${one.mark}_mark`));
  if (one.note) what.append(make("small", one.note));
  const who = make("td", one.marked_by);
  who.append(make("small", new Date(one.at * 1000).toLocaleString(language)));
  if (one.withdrawn_by) who.append(make("small", t("withdrawn_by").replace("{n}", () => one.withdrawn_by)));
  const acts = make("td");
  if (!one.withdrawn_by) {
    acts.append(button("withdraw", async () => {
      await post(`/api/marks/${one.id}/withdraw`);
      await askMarks();
    }));
  }
  const caller = make("td", one.account ?? one.number);
  caller.append(make("small", one.call));
  row.append(caller, what, who, acts);
  return row;
}

function identityRow(one) {
  const row = make("tr");
  const proof = one.proof ? [one.proof.facts.name, one.proof.facts.phone, one.proof.by].filter(Boolean).join(" · ") : "";
  const wanted = one.change ? [one.change.facts.name, one.change.facts.phone].join(" · ") : "";
  const change = make("td", wanted);
  const acts = make("td");
  if (one.change) {
    change.append(make("small", t("asked_by").replace("{n}", () => one.change.by)));
    for (const act of ["confirm", "withdraw"]) {
      acts.append(button(act, async () => {
        await post(`/api/identities/${encodeURIComponent(one.user)}/${act}`, { change: one.change.id });
        await askIdentities();
      }));
    }
  }
  const who = make("td", one.user);
  if (one.blocked) {
    who.append(make("span", t("blocked"), "badge warning"), make("small", blockOf(one.blocked)));
    acts.append(button("unblock", async () => {
      await post(`/api/identities/${encodeURIComponent(one.user)}/unblock`);
      await askIdentities();
    }));
  }
  row.append(who, make("td", proof), change, acts);
  return row;
}

async function blockAccount(form) {
  const { user, why } = form.elements;
  if (await post(`/api/identities/${encodeURIComponent(user.value.trim())}/block`, { why: why.value })) form.reset();
  await askIdentities();
}

async function checkIdentity(form) {
  const { user, ...said } = Object.fromEntries(new FormData(form));
  // The number of a document stays in the page no longer than it takes to send it.
  form.elements.number.value = "";
  if (await post(`/api/identities/${encodeURIComponent(user)}`, said)) form.reset();
  await askIdentities();
}

// What is not ticked is not needed any more.
async function noteNeeds(form) {
  const { user, deaf, speech, language: tag } = form.elements;
  const needs = [deaf, speech].filter((box) => box.checked).map((box) => box.name);
  const said = { language: tag.value.trim() || null, needs };
  if (!(await post(`/api/identities/${encodeURIComponent(user.value.trim())}/needs`, said))) return;
  form.reset();
  alarm(t("needs_noted"));
}

function callRow(call, waiting) {
  const row = make("tr");
  const first = make("td", waiting ? call.position ?? "" : call.desk ?? "");
  if (waiting && call.queue && call.queue !== "default") first.append(" ", make("small", call.queue));
  if (waiting && call.rank && call.rank !== "normal") first.append(" ", make("small", t(`rank_${call.rank}`)));
  row.append(first, callerCell(call), identityCell(call), mediaCell(call));
  row.append(timeCell(waiting ? call.started : call.attached ?? call.started), silentCell(call));
  return row;
}

function draw() {
  drawing = false;
  const calls = [...shown.calls.values()].filter((call) => call.state !== "ended");
  const waiting = calls.filter((call) => call.state === "waiting");
  const active = calls.filter((call) => call.state !== "waiting");
  waiting.sort((a, b) => (a.position ?? Infinity) - (b.position ?? Infinity) || a.started - b.started);
  active.sort((a, b) => (a.attached ?? 0) - (b.attached ?? 0));
  const desks = [...shown.desks.values()].sort((a, b) => String(a.desk).localeCompare(String(b.desk)));
  const focused = focusKey();
  $("waiting").replaceChildren(...waiting.map((call) => keyed(callRow(call, true), call.call)));
  $("active").replaceChildren(...active.map((call) => keyed(callRow(call, false), call.call)));
  $("desks").replaceChildren(...desks.map((desk) => keyed(deskRow(desk), desk.desk)));
  $("trunks").replaceChildren(...shown.trunks.map((trunk) => keyed(trunkRow(trunk), trunk.trunk)));
  $("trunk-section").hidden = shown.trunks.length === 0;
  $("callbacks").replaceChildren(...shown.callbacks.map((task) => keyed(callbackRow(task), task.call)));
  $("callback-section").hidden = shown.callbacks.length === 0;
  refocus(focused);
  $("waiting-count").textContent = String(waiting.length);
  $("active-count").textContent = String(active.length);
  document.title = (waiting.length ? `(${waiting.length}) ` : "") + t("title");
  drawHealth();
}

function drawHealth() {
  const troubles = [];
  if (shown.link !== "live") troubles.push(t(shown.link));
  if (shown.health.ready === false) troubles.push(t("not_ready"));
  if (shown.health.database === "down") troubles.push(t("database_down"));
  if (shown.health.media === "down") troubles.push(t("media_down"));
  if (shown.health.media === "late") troubles.push(t("media_late"));
  if (shown.health.evidence === "missing") troubles.push(t("evidence_missing"));
  if (shown.health.journal === "failed") troubles.push(t("journal_failed"));
  $("health").textContent = feed ? troubles.join(" · ") || t("live") : "";
  $("health").className = feed && troubles.length ? "bad" : "";
}

// Rows are drawn anew while somebody may be about to press a button with the keyboard: give the focus back.
function keyed(row, key) {
  row.dataset.key = String(key);
  return row;
}

function focusKey() {
  const act = document.activeElement?.dataset?.act;
  const key = document.activeElement?.closest("tr")?.dataset.key;
  return act && key ? { act, key } : null;
}

function refocus(wanted) {
  if (!wanted) return;
  for (const row of document.querySelectorAll("tr[data-key]")) {
    if (row.dataset.key !== wanted.key) continue;
    for (const node of row.querySelectorAll("button")) if (node.dataset.act === wanted.act) node.focus();
  }
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function tick() {
  for (const cell of document.querySelectorAll("td.time")) {
    if (cell.dataset.since) cell.textContent = duration(Number(cell.dataset.since));
  }
}

function speak(wanted) {
  language = wanted in TEXT ? wanted : "zh";
  localStorage.setItem("language", language);
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = node.ariaLabel = t(node.dataset.hint);
  for (const option of $("identity").querySelectorAll("option")) option.textContent = t(option.value);
  $("language").textContent = t("language");
  drawIdentities();
  draw();
}

// --- silent mode off: two acts ------------------------------------------------------------------------------------

async function askSilentOff(call, path) {
  const told = await post(path, { off: "request" });
  if (!told) return;
  const dialog = $("confirm");
  $("confirm-who").textContent = clean(`${call.name ?? call.caller ?? ""} · ${call.call}`);
  const left = () => Math.ceil(told.expires - now());
  const show = () => {
    $("confirm-left").textContent = t("seconds_left").replace("{n}", String(Math.max(0, left())));
    if (left() <= 0) dialog.close("cancel");
  };
  dialog.returnValue = "cancel";
  dialog.showModal();
  show();
  const timer = setInterval(show, 250);
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  clearInterval(timer);
  if (dialog.returnValue === "confirm") await post(path, { off: "confirm" });
}

// --- the feed ---------------------------------------------------------------------------------------------------

function take(event) {
  switch (event.type) {
    case "snapshot":
      shown.skew = event.now - Date.now() / 1000;
      shown.calls = new Map(event.calls.map((call) => [call.call, call]));
      shown.desks = new Map(event.desks.map((desk) => [desk.desk, desk]));
      shown.health = event.health;
      place(event.queue);
      break;
    case "call": shown.calls.set(event.call.call, event.call); break;
    case "call_ended": shown.calls.delete(event.call.call); askCallbacks(); break;
    case "desk": shown.desks.set(event.desk.desk, event.desk); break;
    case "queue": place(event.queue); break;
    case "health": shown.health = event.health; break;
    case "trunk": askTrunks(); return;
    default: return;
  }
  redraw();
}

function place(queue) {
  for (const entry of queue) {
    const call = shown.calls.get(entry.call);
    if (call) Object.assign(call, { position: entry.position, queue: entry.queue, rank: entry.class });
  }
}

// A road that dies says nothing: what stands on the page would look alive for ever. In silence the feed says `alive` each 15 s.
function followAnew() {
  if (feed === null || performance.now() - heard < SILENT_SECONDS * 1000) return;
  shown.link = "lost";
  drawHealth();
  feed.close();
  follow();
}

function follow() {
  feed = new EventSource("/api/events");
  heard = performance.now();
  const hear = (message) => {
    heard = performance.now();
    if (message.type !== "alive") take(JSON.parse(message.data));
  };
  feed.addEventListener("alive", hear);
  feed.addEventListener("snapshot", hear);
  feed.addEventListener("event", hear);
  feed.addEventListener("open", () => { shown.link = "live"; drawHealth(); });
  feed.addEventListener("error", async () => {
    shown.link = "lost";
    drawHealth();
    // A browser does not say why: ask, and come back by ourselves when it has given up.
    const asked = feed;
    const answer = await fetch("/api/queue", { credentials: "same-origin" }).catch(() => null);
    if (feed !== asked) return;
    if (answer?.status === 401) leave(t("expired"));
    else if (asked.readyState === EventSource.CLOSED) setTimeout(() => { if (feed === asked) follow(); }, 1000);
  });
  askTrunks();
  askCallbacks();
  askIdentities();
  $("login").hidden = true;
  $("board").hidden = false;
  $("logout").hidden = false;
}

function leave(why) {
  feed?.close();
  feed = null;
  shown.calls.clear();
  shown.desks.clear();
  shown.trunks = [];
  shown.callbacks = [];
  if ($("confirm").open) $("confirm").close("cancel");
  byName = false;
  localStorage.removeItem("byName");
  $("identity-section").hidden = true;
  shown.identities = [];
  shown.marks = [];
  drawIdentities();
  $("board").hidden = true;
  $("logout").hidden = true;
  $("login").hidden = false;
  draw();
  alarm(why ?? "");
  $("token").focus();
}

async function begin() {
  speak(localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
  $("language").addEventListener("click", () => speak(language === "zh" ? "en" : "zh"));
  $("logout").addEventListener("click", async () => { await post("/api/logout"); leave(); });
  $("login").querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const user = $("user").value.trim();
    const secret = $("token").value.trim();
    $("token").value = "";
    if (!(await post("/api/login", user ? { user, password: secret } : { token: secret }))) return;
    byName = Boolean(user);
    localStorage.setItem("byName", byName ? "yes" : "");
    alarm("");
    follow();
  });
  byName = localStorage.getItem("byName") === "yes";
  $("identity").addEventListener("submit", (event) => { event.preventDefault(); checkIdentity(event.target); });
  $("block").addEventListener("submit", (event) => { event.preventDefault(); blockAccount(event.target); });
  $("needs").addEventListener("submit", (event) => { event.preventDefault(); noteNeeds(event.target); });
  setInterval(tick, 1000);
  setInterval(followAnew, 1000);
  setInterval(askTrunks, TRUNK_SECONDS * 1000);
  setInterval(askCallbacks, CALLBACK_SECONDS * 1000);
  setInterval(look, LOOK_SECONDS * 1000);
  $("look").addEventListener("change", () => { looking = $("look").checked; look(); redraw(); });
  const answer = await fetch("/api/queue", { credentials: "same-origin" }).catch(() => null);
  if (answer?.ok) follow();
  else leave();
}

begin();
