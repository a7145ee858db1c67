"use strict";
// Notes on an image: W3C Web Annotations, kept in this browser, exported and imported as a page.
(() => {
  const { body } = document;
  const $ = (id) => document.getElementById(id);
  const say = (text) => { $("message").textContent = text; };
  const CONTEXT = "http://iiif.io/api/presentation/3/context.json";
  const SOURCE = body.dataset.canvas, KEPT = `iiif-proxy notes ${SOURCE}`;
  if (!window.OpenSeadragon || !window.AnnotoriousOSD) {
    body.dataset.state = "plain";
    say("What draws on images is not installed here, so there are no notes.");
    return;
  }
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const viewer = OpenSeadragon({
    element: $("picture"), tileSources: body.dataset.info, crossOriginPolicy: "Anonymous", showNavigationControl: false,
    animationTime: still ? 0 : 0.5, maxZoomPixelRatio: 8, visibilityRatio: 0.2, gestureSettingsMouse: { clickToZoom: false },
  });
  viewer._showMessage = () => {}; // Ours says more.
  const notes = AnnotoriousOSD.createOSDAnnotator(viewer, {
    adapter: AnnotoriousOSD.W3CImageFormat(SOURCE),
    drawingEnabled: false,
    drawingMode: "drag",
  });

  // What the pointer does
  function tool(name) {
    if (name !== "move") notes.setDrawingTool(name);
    notes.setDrawingEnabled(name !== "move");
    body.classList.toggle("drawing", name !== "move");
    for (const id of ["move", "rectangle", "polygon"]) $(id).setAttribute("aria-pressed", String(id === name));
  }
  for (const id of ["move", "rectangle", "polygon"]) $(id).addEventListener("click", () => tool(id));

  const asList = (some) => (some === undefined || some === null ? [] : Array.isArray(some) ? some : [some]);
  const isText = (part) => part && typeof part === "object" && part.type === "TextualBody" && typeof part.value === "string";
  const textOf = (note) => (asList(note.body).find(isText) || { value: "" }).value;

  // The page as it is exported
  function page() {
    return {
      "@context": CONTEXT,
      id: `${SOURCE}/annotations`,
      type: "AnnotationPage",
      items: notes.getAnnotations().map(({ id, body: parts, target }) => ({
        id: /^[a-z]+:/i.test(id) ? id : `urn:uuid:${id}`, type: "Annotation", motivation: "commenting",
        body: parts, target: plain(target),
      })),
    };
  }
  // `pixel:` is what xywh means anyway, and viewers do not all know the word.
  function plain(target) {
    const { selector } = target;
    if (selector?.type !== "FragmentSelector") return target;
    return { ...target, selector: { ...selector, value: selector.value.replace("xywh=pixel:", "xywh=") } };
  }

  // Every annotation in a document that has a place on the image; how many had none.
  function read(found) {
    const items = Array.isArray(found) ? found : asList(found?.items ?? found);
    const kept = [];
    for (const item of items) {
      const note = item && typeof item === "object" ? placed(item) : null;
      if (note) kept.push(note);
    }
    return [kept, items.length - kept.length];
  }
  function placed(item) {
    let [target] = asList(item.target);
    if (typeof target === "string") {
      const [, fragment] = target.split("#");
      target = { selector: { type: "FragmentSelector", conformsTo: "http://www.w3.org/TR/media-frags/", value: fragment } };
    }
    const selector = asList(target?.selector).find((one) => typeof one?.value === "string" && (
      one.type === "SvgSelector" || (one.type === "FragmentSelector" && /^xywh=(pixel:)?[\d.]+,[\d.]+,[\d.]+,[\d.]+$/.test(one.value))));
    if (!selector) return null;
    const parts = asList(item.body).map((part) => (typeof part === "string" ? { type: "TextualBody", value: part } : part));
    return {
      "@context": "http://www.w3.org/ns/anno.jsonld", id: String(item.id || crypto.randomUUID?.() || Math.random()).replace(/^urn:uuid:/, ""),
      type: "Annotation", body: parts, target: { source: SOURCE, selector },
    };
  }

  function keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify(page()));
    } catch {
      say("This browser does not keep notes: export them before you leave.");
    }
    list();
  }

  // The list, and the note that is chosen
  let chosen = null;
  function list() {
    const all = notes.getAnnotations();
    $("none").hidden = all.length > 0;
    $("export").disabled = all.length === 0;
    $("list").replaceChildren(...all.map((note) => {
      const item = document.createElement("li"), button = document.createElement("button");
      button.type = "button";
      button.textContent = textOf(note) || "(nothing written)";
      button.setAttribute("aria-current", String(note.id === chosen));
      button.addEventListener("click", () => {
        notes.setSelected(note.id);
        notes.fitBounds(note.id, { padding: 60, immediately: still });
        choose(note.id);
      });
      item.append(button);
      return item;
    }));
    const note = all.find(({ id }) => id === chosen);
    $("editor").hidden = !note;
    if (note && document.activeElement !== $("text")) $("text").value = textOf(note);
  }
  function choose(id) {
    chosen = id;
    list();
    if (id) $("text").focus({ preventScroll: true });
  }
  notes.on("selectionChanged", (found) => choose(found.length ? found[0].id : null));
  notes.on("createAnnotation", (note) => { tool("move"); keep(); notes.setSelected(note.id); choose(note.id); });
  notes.on("updateAnnotation", keep);
  notes.on("deleteAnnotation", () => { chosen = null; keep(); });
  $("text").addEventListener("input", () => {
    const note = notes.getAnnotations().find(({ id }) => id === chosen);
    if (!note) return;
    const others = asList(note.body).filter((part) => !isText(part));
    const text = { type: "TextualBody", purpose: "commenting", format: "text/plain", value: $("text").value };
    notes.updateAnnotation({ ...note, body: [text, ...others] });
    keep();
  });
  const done = () => { notes.cancelSelected(); choose(null); };
  $("done").addEventListener("click", done);
  $("editor").addEventListener("submit", (event) => event.preventDefault());
  $("delete").addEventListener("click", () => { const id = chosen; notes.cancelSelected(); notes.removeAnnotation(id); chosen = null; keep(); });

  $("seen").addEventListener("click", () => {
    const image = viewer.world.getItemAt(0), { x: width, y: height } = image.getContentSize();
    const seen = viewer.viewport.viewportToImageRectangle(viewer.viewport.getBounds(true)).getBoundingBox();
    const left = Math.max(0, Math.round(seen.x + seen.width * 0.05)), top = Math.max(0, Math.round(seen.y + seen.height * 0.05));
    const right = Math.min(width, Math.round(seen.x + seen.width * 0.95)), bottom = Math.min(height, Math.round(seen.y + seen.height * 0.95));
    if (right <= left || bottom <= top) return;
    const note = placed({ target: `${SOURCE}#xywh=${[left, top, right - left, bottom - top].join(",")}` });
    notes.addAnnotation(note);
    keep();
    notes.setSelected(note.id);
    choose(note.id);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { tool("move"); if (event.target === $("text")) { $("text").blur(); done(); } }
    if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    ({ m: () => tool("move"), b: () => tool("rectangle"), p: () => tool("polygon"), n: () => $("seen").click() })[event.key]?.();
  });

  // In and out
  $("export").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(page(), null, 1)], { type: "application/ld+json" }));
    link.download = "annotations.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  function add(found) {
    const [kept, refused] = read(found);
    notes.setAnnotations(kept, false);
    list();
    if (refused) say(`${refused} ${refused === 1 ? "note has" : "notes have"} no rectangle or outline on the image and ${refused === 1 ? "was" : "were"} left out.`);
    return kept.length;
  }
  $("import").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", async () => {
    const [file] = $("file").files;
    if (!file) return;
    try {
      if (!add(JSON.parse(await file.text()))) say("There are no notes in this file.");
      keep();
    } catch {
      say("This file is no annotation page.");
    }
    $("file").value = "";
  });

  async function begin() {
    const kept = localStorage.getItem(KEPT);
    if (kept) return add(JSON.parse(kept));
    if (!body.dataset.remote) return 0;
    const answer = await fetch(body.dataset.remote, { headers: { Accept: "application/ld+json, application/json" } });
    if (answer.status === 404) return 0;
    if (!answer.ok) throw new Error();
    return add(await answer.json());
  }
  viewer.addHandler("open", async () => {
    list();
    try { await begin(); } catch { say("The notes that were here could not be read."); }
    body.dataset.state = "open";
  });
  viewer.addHandler("open-failed", async () => {
    body.dataset.state = "plain";
    try {
      say((await (await fetch(body.dataset.info, { headers: { Accept: "application/json" } })).json()).error);
    } catch { say("This image could not be opened."); }
  });
})();
