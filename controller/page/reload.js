/* reload.js: keeps a browser's page as the workspace is. Stylesheets are swapped in place, anything
 * else reloads the page, once, when every instance serves it. What fails to come up is shown over
 * the page until it works again. */
(() => {
	"use strict";
	if (window.livepushReload)
		return;
	window.livepushReload = true;

	const script = document.currentScript;
	const home = new URL(script ? script.src : "/_livepush/reload.js", location.href);
	const url = (path) => new URL(path + home.search, home).href;
	/* Another instance of the app may be a moment behind the one that was asked before. */
	const BEHIND_MS = 10000;
	/* What this page was made of, when the tag says so. */
	let revision = script && script.dataset.revision ? Number(script.dataset.revision) : null;
	let source = null;
	let overlay = null;

	/* Storage may be forbidden here; then nothing is remembered over a reload. */
	const memory = {
		get(key) {
			try {
				return sessionStorage.getItem(key);
			} catch {
				return null;
			}
		},
		set(key, value) {
			try {
				sessionStorage.setItem(key, value);
			} catch {
				/* see above */
			}
		},
		drop(key) {
			try {
				sessionStorage.removeItem(key);
			} catch {
				/* see above */
			}
		},
	};

	const tellShown = (shown) => {
		const to = new URL(url("reload/shown"));

		to.searchParams.set("revision", shown);
		fetch(to, { method: "POST", keepalive: true, credentials: "same-origin" }).catch(
			() => {});
	};

	const wasReloaded = (to, within) => {
		const [last, at] = (memory.get("livepush.reloaded") || "").split(" ");

		return last === String(to) && Date.now() - Number(at) < within;
	};

	const reload = (to) => {
		memory.set("livepush.reloaded", `${to} ${Date.now()}`);
		memory.set("livepush.shown", String(to));
		if (source)
			source.close();
		location.reload();
	};

	const nameOf = (href) => new URL(href, location.href).pathname.split("/").pop();

	const isOurs = (href) => new URL(href, location.href).origin === location.origin;

	/* The addresses of changed sheets that this one imports, however deep. */
	const imported = (sheet, names, found = []) => {
		let rules = [];

		try {
			rules = sheet ? [...sheet.cssRules] : [];
		} catch {
			/* of another origin */
		}
		for (const rule of rules) {
			if (!(rule instanceof CSSImportRule))
				continue;
			const href = new URL(rule.href, sheet.href || location.href).href;

			if (names.has(nameOf(href)))
				found.push(href);
			imported(rule.styleSheet, names, found);
		}
		return found;
	};

	/* Loads a stylesheet beside the one that is there, and takes that one's place. */
	const swap = (link, to) =>
		new Promise((done) => {
			const next = link.cloneNode();
			const href = new URL(link.href);

			href.searchParams.set("livepush", to);
			next.href = href.href;
			next.addEventListener("load", () => {
				link.remove();
				done();
			});
			next.addEventListener("error", () => {
				next.remove();
				done();
			});
			link.after(next);
		});

	const restyle = async (paths, to) => {
		const links = [...document.querySelectorAll('link[rel~="stylesheet"][href]')].filter(
			(link) => isOurs(link.href));
		const names = new Set(paths.map((path) => path.split("/").pop()));
		const within = links.map((link) => imported(link.sheet, names));
		let affected = links.filter(
			(link, i) => names.has(nameOf(link.href)) || within[i].length > 0);

		if (links.length === 0 && document.querySelector("style")) {
			reload(to);
			return;
		}
		/* Made of others by a tool: any may be concerned. */
		if (affected.length === 0)
			affected = links;
		await Promise.all(within.flat().map(
			(href) => fetch(href, { cache: "reload" }).catch(() => {})));
		await Promise.all(affected.map((link) => swap(link, to)));
		tellShown(to);
	};

	const style = `
		:host { all: initial; }
		section {
			position: fixed; inset: 0; z-index: 2147483647; overflow: auto;
			box-sizing: border-box; padding: max(1rem, 4vmin);
			background: rgb(15 17 21 / 98%); color: #e8eaed;
			font: 15px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
		}
		h2 { margin: 0 3rem .5rem 0; font-size: 1.2em; color: #ff8f8f; overflow-wrap: anywhere; }
		p { margin: 0 0 1rem; color: #a9b0ba; }
		pre {
			margin: 0; padding: 1rem; border-left: 3px solid #ff8f8f; background: #1c2027;
			white-space: pre-wrap; overflow-wrap: anywhere; font: inherit;
		}
		button {
			position: fixed; top: max(1rem, 4vmin); right: max(1rem, 4vmin);
			border: 1px solid #59616d; border-radius: 6px; padding: .3em .7em;
			background: #262b34; color: inherit; font: inherit; cursor: pointer;
		}
		button:focus-visible { outline: 2px solid #8ab4f8; outline-offset: 2px; }`;

	const hide = () => {
		if (overlay)
			overlay.remove();
		overlay = null;
	};

	const part = (name, text) => {
		const element = document.createElement(name);

		element.textContent = text;
		return element;
	};

	const show = (failure) => {
		hide();
		overlay = document.createElement("livepush-failure");
		const root = overlay.attachShadow({ mode: "open" });
		const section = document.createElement("section");
		const close = part("button", "Close");

		/* A sheet made here needs no leave of the page's policy. */
		const sheet = new CSSStyleSheet();
		sheet.replaceSync(style);
		root.adoptedStyleSheets = [sheet];
		section.setAttribute("role", "alert");
		section.append(part("h2", `${failure.stage}: ${failure.error}`),
			part("p", `${failure.path ? `${failure.path} changed last. ` : ""}` +
				"The page below is the last that worked."));
		if (failure.excerpt)
			section.append(part("pre", failure.excerpt));
		close.addEventListener("click", hide);
		section.append(close);
		root.append(section);
		document.documentElement.append(overlay);
	};

	addEventListener("keydown", (event) => {
		if (event.key === "Escape")
			hide();
	});

	const on = {
		hello(now) {
			const old = revision !== null && now.served > revision;

			/* An instance that is behind does not make the page newer. */
			if (revision === null || old)
				revision = now.served;
			/* A page out of a cache may be older than it is for ever: one reload only. */
			if (old && !wasReloaded(now.served, Infinity))
				reload(now.served);
			if (now.failure)
				show(now.failure);
			else
				hide();
		},
		served(now) {
			if (now.revision === revision || wasReloaded(now.revision, BEHIND_MS))
				return;
			revision = now.revision;
			hide();
			if (now.reload)
				reload(now.revision);
			else
				restyle(now.css, now.revision);
		},
		failed: show,
		fixed: hide,
	};

	const open = () => {
		if (source || document.visibilityState === "hidden")
			return;
		source = new EventSource(url("reload/events"));
		for (const [name, take] of Object.entries(on))
			source.addEventListener(name, (event) => take(JSON.parse(event.data)));
	};

	/* A browser has six connections for a host: those who are not seen need none. What they miss
	 * they learn when they come back. */
	const close = () => {
		if (source)
			source.close();
		source = null;
	};

	document.addEventListener("visibilitychange",
		() => (document.visibilityState === "hidden" ? close() : open()));
	addEventListener("pagehide", close);
	addEventListener("pageshow", open);

	const shown = memory.get("livepush.shown");

	if (shown !== null) {
		memory.drop("livepush.shown");
		const tell = () => tellShown(shown);

		if (document.readyState === "complete")
			tell();
		else
			addEventListener("load", tell, { once: true });
	}
	open();
})();
