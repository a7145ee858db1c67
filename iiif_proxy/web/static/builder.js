"use strict";
// The panel "Make an image": a region by dragging or numbers, and its address, tags and preview.
document.addEventListener("iiif-open", ({ detail: viewer }) => {
  const $ = (id) => document.getElementById(id);
  const form = $("parts"), { elements } = form;
  const base = document.body.dataset.info.replace(/\/info\.json$/, "");
  const image = viewer.world.getItemAt(0), view = viewer.viewport;
  const { x: fullWidth, y: fullHeight } = image.getContentSize();
  const LARGEST = 4e6; // pixels that are fetched for a preview
  const WIDTHS = [320, 640, 960, 1280, 1920, 2560];

  function box() {
    const [x, y, w, h] = ["x", "y", "w", "h"].map((name) => Math.round(elements[name].valueAsNumber));
    return { x, y, w: Math.min(w, fullWidth - x), h: Math.min(h, fullHeight - y) };
  }
  function set({ x, y, w, h }) {
    x = Math.min(Math.max(0, Math.round(x)), fullWidth - 1);
    y = Math.min(Math.max(0, Math.round(y)), fullHeight - 1);
    elements.x.value = x; elements.y.value = y;
    elements.w.value = Math.max(1, Math.min(Math.round(w), fullWidth - x));
    elements.h.value = Math.max(1, Math.min(Math.round(h), fullHeight - y));
    changed();
  }

  // Sizes as Image API 3 writes them, and what comes of them.
  function size(region, kind, n) {
    const shape = region.w / region.h;
    switch (kind) {
      case "w": n = Math.min(n, region.w); return { text: `${n},`, w: n, h: Math.max(1, Math.round(n / shape)) };
      case "h": n = Math.min(n, region.h); return { text: `,${n}`, w: Math.max(1, Math.round(n * shape)), h: n };
      case "pct": n = Math.min(n, 100); return { text: `pct:${n}`, w: Math.round(region.w * n / 100), h: Math.round(region.h * n / 100) };
      case "fit": {
        const scale = Math.min(1, n / region.w, n / region.h);
        return { text: `!${n},${n}`, w: Math.max(1, Math.round(region.w * scale)), h: Math.max(1, Math.round(region.h * scale)) };
      }
      default: return { text: "max", w: region.w, h: region.h };
    }
  }
  function address(region, text) {
    const all = region.x === 0 && region.y === 0 && region.w === fullWidth && region.h === fullHeight;
    const where = all ? "full" : [region.x, region.y, region.w, region.h].join(",");
    const turn = ((elements.turn.valueAsNumber || 0) % 360 + 360) % 360;
    return `${where}/${text}/${elements.mirror.checked ? "!" : ""}${+turn.toFixed(3)}/${elements.quality.value}.${elements.format.value}`;
  }
  const quoted = (text) => text.replace(/&/g, "&amp;").replace(/"/g, "&quot;").replace(/</g, "&lt;");

  let due = 0, asking = null, shown = null;
  function changed() {
    place();
    if (!form.checkValidity()) return;
    const region = box();
    if (!(region.w > 0 && region.h > 0)) return;
    const wanted = size(region, elements.kind.value, elements.n.valueAsNumber || 1);
    const path = address(region, wanted.text), url = `${base}/${path}`;
    elements.n.disabled = elements.kind.value === "max";
    $("url").value = url;
    $("why").href = `${$("why").dataset.explain}/${path}`;
    const turned = (elements.turn.valueAsNumber || 0) % 180 === 90;
    const [w, h] = turned ? [wanted.h, wanted.w] : [wanted.w, wanted.h];
    const plain = (elements.turn.valueAsNumber || 0) % 90 === 0 ? ` width="${w}" height="${h}"` : "";
    $("tag").value = `<img src="${quoted(url)}"${plain} alt="">`;
    const widths = WIDTHS.filter((n) => n < region.w).concat(region.w <= 2560 ? [region.w] : []);
    const sources = widths.map((n) => `${base}/${address(region, `${n},`)} ${n}w`);
    $("set").value = `<img src="${quoted(url)}"\n  srcset="${quoted(sources.join(",\n    "))}"\n  sizes="100vw"${plain} alt="">`;
    clearTimeout(due);
    due = setTimeout(() => preview(region, url, wanted), 300);
  }

  async function preview(region, url, wanted) {
    asking?.abort();
    asking = new AbortController();
    const small = wanted.w * wanted.h > LARGEST;
    const asked = small ? `${base}/${address(region, "!1000,1000")}` : url;
    $("weight").textContent = "…";
    try {
      const answer = await fetch(asked, { signal: asking.signal });
      if (!answer.ok) throw new Error((await (await fetch(asked, { headers: { Accept: "application/json" } })).json()).error);
      const blob = await answer.blob();
      const stored = (answer.headers.get("Cache-Status") || "").includes("hit") ? "stored" : "made now";
      if (shown) URL.revokeObjectURL(shown);
      $("made").src = shown = URL.createObjectURL(blob);
      $("weight").textContent = small
        ? `${wanted.w} × ${wanted.h}: the preview is smaller`
        : `${wanted.w} × ${wanted.h} · ${weight(blob.size)} · ${stored}`;
    } catch (fault) {
      if (fault.name === "AbortError") return;
      $("made").removeAttribute("src");
      $("weight").textContent = fault.message || "No preview.";
    }
  }
  const weight = (bytes) => (bytes < 1e4 ? `${bytes} bytes` : bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

  // The region on the picture.
  const frame = document.createElement("div");
  frame.id = "drawn";
  frame.hidden = true;
  $("picture").parentElement.append(frame);
  function place() {
    const region = box();
    const all = region.w === fullWidth && region.h === fullHeight;
    frame.hidden = $("builder").hidden || all || !Number.isFinite(region.x + region.y + region.w + region.h);
    if (frame.hidden) return;
    const corners = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([i, j]) =>
      viewer.viewport.pixelFromPoint(image.imageToViewportCoordinates(region.x + i * region.w, region.y + j * region.h), true));
    const flip = (p) => (view.getFlip() ? $("picture").clientWidth - p.x : p.x);
    const xs = corners.map(flip), ys = corners.map((p) => p.y);
    const left = Math.min(...xs), top = Math.min(...ys);
    Object.assign(frame.style, {
      left: `${left}px`, top: `${top}px`, width: `${Math.max(...xs) - left}px`, height: `${Math.max(...ys) - top}px`,
    });
  }
  for (const event of ["animation", "rotate", "flip", "resize", "update-viewport"]) viewer.addHandler(event, place);

  function toImage(x, y) {
    const px = view.getFlip() ? $("picture").clientWidth - x : x;
    return image.viewportToImageCoordinates(view.pointFromPixel(new OpenSeadragon.Point(px, y), true));
  }
  const pane = document.createElement("div");
  pane.id = "pane";
  pane.hidden = true;
  $("picture").parentElement.insertBefore(pane, $("tools"));
  let start = null;
  const drawing = (on) => { pane.hidden = !on; $("draw").setAttribute("aria-pressed", String(on)); };
  pane.addEventListener("pointerdown", (event) => {
    pane.setPointerCapture(event.pointerId);
    start = toImage(event.offsetX, event.offsetY);
  });
  pane.addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = toImage(event.offsetX, event.offsetY);
    const x = Math.max(0, Math.min(start.x, end.x)), y = Math.max(0, Math.min(start.y, end.y));
    const right = Math.min(fullWidth, Math.max(start.x, end.x)), bottom = Math.min(fullHeight, Math.max(start.y, end.y));
    if (right - x >= 1 && bottom - y >= 1) set({ x, y, w: right - x, h: bottom - y });
  });
  for (const name of ["pointerup", "pointercancel"]) pane.addEventListener(name, () => { if (start) drawing(false); start = null; });

  $("draw").addEventListener("click", () => drawing(pane.hidden));
  $("whole").addEventListener("click", () => set({ x: 0, y: 0, w: fullWidth, h: fullHeight }));
  $("seen").addEventListener("click", () => {
    const seen = view.viewportToImageRectangle(view.getBounds(true)).getBoundingBox();
    const x = Math.max(0, seen.x), y = Math.max(0, seen.y);
    set({ x, y, w: Math.min(fullWidth, seen.x + seen.width) - x, h: Math.min(fullHeight, seen.y + seen.height) - y });
  });
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  $("build").addEventListener("click", () => {
    const open = $("builder").hidden;
    $("builder").hidden = !open;
    $("build").setAttribute("aria-expanded", String(open));
    if (!open) drawing(false);
    if (open) { changed(); elements.x.focus({ preventScroll: true }); } else place();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !pane.hidden) { drawing(false); start = null; }
    if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "s" && !$("builder").hidden) drawing(pane.hidden);
  });
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const field = $(button.dataset.copy);
      try { await navigator.clipboard.writeText(field.value); } catch { field.select(); document.execCommand("copy"); }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // What the server can do, and what is known of the image.
  async function about() {
    const answer = await fetch(document.body.dataset.info);
    const info = await answer.json();
    const options = (select, more) => {
      for (const name of more) if (![...select.options].some((o) => o.value === name)) select.add(new Option(name, name));
    };
    options(elements.quality, info.extraQualities || []);
    options(elements.format, info.extraFormats || []);
    const [tiles] = info.tiles || [{}];
    let kind;
    try {
      const explained = await fetch($("why").dataset.explain + "/info.json", { headers: { Accept: "application/json" } });
      [, kind] = (await explained.json()).facts.Image.split(", ");
    } catch { /* it is told without */ }
    const rows = {
      Dimensions: `${info.width} × ${info.height} (${(info.width * info.height / 1e6).toFixed(1)} megapixels)`,
      Source: kind,
      Tiles: tiles.width ? `${tiles.width} × ${tiles.height || tiles.width}` : "none",
      Levels: (tiles.scaleFactors || []).length || "1",
      Sizes: (info.sizes || []).map((s) => `${s.width} × ${s.height}`).join(", ") || "none",
      Formats: ["jpg", "png", ...(info.extraFormats || [])].join(", "),
      Rights: info.rights,
      Address: base,
    };
    for (const [name, value] of Object.entries(rows)) {
      if (!value) continue;
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      $("about").append(term, text);
    }
  }
  about();
  set({ x: 0, y: 0, w: fullWidth, h: fullHeight });
  $("build").hidden = false;
});
