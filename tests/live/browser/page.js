// A browser phone for the tests: JsSIP, driven from outside through the functions below.
import * as module from "jssip";

const JsSIP = module.default ?? module;
JsSIP.debug.disable();

window.told = [];
const tell = (what, ...more) => window.told.push([what, ...more.map(String)].join(" "));

window.begin = (url, user, password, host) => {
  const sockets = [new JsSIP.WebSocketInterface(url)];
  window.ua = new JsSIP.UA({ sockets, uri: `sip:${user}@${host}`, password, session_timers: false });
  for (const name of ["connected", "disconnected", "registered", "unregistered", "registrationFailed"])
    ua.on(name, (event) => tell(name, event?.cause ?? ""));
  ua.on("newMessage", (event) => tell("message", event.originator, event.request.body));
  ua.start();
};

window.write = (target, text) => {
  ua.sendMessage(target, text, {
    eventHandlers: {
      succeeded: () => tell("delivered"),
      failed: (event) => tell("undelivered", event.response?.status_code ?? event.cause),
    },
  });
};

window.call = async (target) => {
  const mediaStream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const session = ua.call(target, { mediaStream, pcConfig: { iceServers: [] } });
  session.on("sdp", (event) => tell("sdp", event.originator, event.sdp));
  for (const name of ["progress", "accepted", "confirmed", "ended"]) session.on(name, () => tell(name));
  session.on("failed", (event) => tell("failed", event.message?.status_code ?? event.cause));
};
