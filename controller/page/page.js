/* page.js: fills the instance's page from its event stream. */
"use strict";

const LINES_MAX = 2000;

const $ = (id) => document.getElementById(id);

const make = (name, text, className) => {
	const element = document.createElement(name);

	if (text !== undefined)
		element.textContent = text;
	if (className)
		element.className = className;
	return element;
};

/* States of the app and of instances, by how they look. */
const looks = {
	serving: "good", settled: "good", mirror: "good",
	starting: "busy", swapping: "busy", behind: "busy", applied: "busy", idle: "busy",
	backoff: "bad", failed: "bad", away: "bad", stopping: "bad",
};

const marks = { settled: "✓", applied: "…", failed: "✗" };

const showState = (text, look) => {
	$("state").className = look || "";
	$("state-text").textContent = text;
};

const duration = (ms) => {
	const minutes = Math.floor(ms / 60000);

	if (minutes < 1)
		return `${Math.floor(ms / 1000)} s`;
	if (minutes < 60)
		return `${minutes} min`;
	return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
		: `${Math.floor(minutes / 1440)} d`;
};

const size = (bytes) => {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let i = 0;

	while (bytes >= 1024 && i < units.length - 1) {
		bytes /= 1024;
		i++;
	}
	return `${i === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${units[i]}`;
};

/* The instance's age is known when its state comes; it grows meanwhile. */
let started = 0;

const facts = [
	["Revision", (s) => s.revision],
	["Served", (s) => s.served],
	["Generation", (s) => s.generation || "–"],
	["Crashes", (s) => s.crashes],
	["Requests", (s) => s.requests.toLocaleString("en")],
	["Connections", (s) => s.connections],
	["Tree", (s) => `${s.files.toLocaleString("en")} · ${size(s.bytes)}`],
	["Up", (s) => duration(s.uptime_ms), "uptime"],
];

const fact = ([name, value, id], status) => {
	const box = make("div");
	const dd = make("dd", String(value(status)));

	if (id)
		dd.id = id;
	box.append(make("dt", name), dd);
	return box;
};

const showFailure = (failure) => {
	$("failure").hidden = !failure;
	if (!failure)
		return;
	const title = `${failure.stage}: ${failure.error}`;

	if ($("failure-title").textContent !== title)
		$("failure-title").textContent = title;
	$("failure-about").textContent = `Revision ${failure.revision}` +
		(failure.generation ? `, generation ${failure.generation}` : "") +
		(failure.path ? `; ${failure.path} changed last` : "");
	$("failure-excerpt").textContent = failure.excerpt;
	$("failure-excerpt").hidden = !failure.excerpt;
};

const instanceRow = (one) => {
	const row = make("tr");

	row.append(make("td", one.instance || "–"), make("td", one.state, looks[one.state]),
		make("td", one.applied === one.settled ? one.settled
			: `${one.settled} → ${one.applied}`),
		make("td", one.generation || "–"));
	return row;
};

const changeItem = (change) => {
	const item = make("li");
	const when = new Date(change.time_ms);
	const time = make("time", when.toLocaleTimeString([], { hour12: false }));
	const more = change.n_paths - change.paths.length;
	const paths = make("span", change.paths.slice(0, 4).join("\n") +
		(change.n_paths > 4 ? `\n… ${Math.max(more, 0) + Math.max(change.paths.length - 4, 0)} more` : ""));

	time.dateTime = when.toISOString();
	paths.style.whiteSpace = "pre-line";
	item.append(make("b", `${marks[change.state] || ""} ${change.revision}`, looks[change.state]),
		paths, time);
	item.title = change.state;
	return item;
};

const showStatus = (status) => {
	const own = { instance: status.instance, state: status.failure ? "failed" : status.state,
		applied: status.revision, settled: status.settled, generation: status.generation };

	document.title = `${status.failure ? "✗" : "✓"} livepush ${status.instance}`;
	$("instance").textContent = status.instance;
	showState(status.state, looks[status.state]);
	started = performance.now() - status.uptime_ms;
	$("facts").replaceChildren(...facts.map((row) => fact(row, status)));
	$("instances").replaceChildren(
		...(status.instances.length > 0 ? status.instances : [own]).map(instanceRow));
	$("changes").replaceChildren(...(status.changes.length > 0 ? status.changes.map(changeItem)
		: [make("li", "Nothing has changed yet.", "empty")]));
	showFailure(status.failure);
};

/* Lines come in pieces, cut anywhere, each stream for itself. */
class Stream {
	constructor(className) {
		this.className = className;
		this.decoder = new TextDecoder();
		this.rest = "";
	}

	take(bytes) {
		const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split("\n");

		this.rest = lines.pop();
		/* Whoever never ends a line still sees it. */
		if (this.rest.length > 65536) {
			lines.push(this.rest);
			this.rest = "";
		}
		return lines;
	}
}

let streams = {};

const reset = () => {
	streams = { 1: new Stream(""), 2: new Stream("err"), 3: new Stream("own") };
	$("log").replaceChildren();
};

/* Colours of terminals say nothing here. */
const plain = (line) => line.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, "").replace(/\r$/, "");

const matches = (text) => text.toLowerCase().includes($("filter").value.toLowerCase());

const keepEnd = () => {
	if ($("follow").checked)
		$("log").scrollTop = $("log").scrollHeight;
};

const addLines = (lines, className) => {
	const log = $("log");

	for (const line of lines) {
		const element = make("div", plain(line) || "\u200b", className);

		element.hidden = !matches(element.textContent);
		log.append(element);
	}
	while (log.childElementCount > LINES_MAX)
		log.firstElementChild.remove();
	keepEnd();
};

const onLog = (event) => {
	const [, stream, base64] = event.data.split(" ");
	const to = streams[stream] || streams[1];

	addLines(to.take(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))), to.className);
};

const listen = () => {
	const source = new EventSource("events");

	/* The back-log comes anew with each connection. */
	source.addEventListener("hello", reset);
	source.addEventListener("status", (event) => showStatus(JSON.parse(event.data)));
	source.addEventListener("failed", (event) => showFailure(JSON.parse(event.data)));
	source.addEventListener("fixed", () => showFailure(null));
	source.addEventListener("log", onLog);
	source.addEventListener("error", () => {
		if (source.readyState === EventSource.CLOSED)
			showState("not allowed any more: ask livepush for a new link", "bad");
		else
			showState("not connected; trying again", "bad");
	});
};

$("filter").addEventListener("input", () => {
	for (const line of $("log").children)
		line.hidden = !matches(line.textContent);
	keepEnd();
});
$("follow").addEventListener("change", keepEnd);
$("wrap").addEventListener("change", () => $("log").classList.toggle("wrap", $("wrap").checked));
$("clear").addEventListener("click", () => $("log").replaceChildren());
$("log").addEventListener("wheel", (event) => {
	if (event.deltaY < 0)
		$("follow").checked = false;
}, { passive: true });
setInterval(() => {
	const up = document.getElementById("uptime");

	if (up && started)
		up.textContent = duration(performance.now() - started);
}, 1000);
reset();
listen();
