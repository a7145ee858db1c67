"use strict";
// The view page: OpenSeadragon on an info.json, and the IIIF address of what is seen.
(() => {
  const { body } = document;
  const $ = (id) => document.getElementById(id);
  const say = (state) => { body.dataset.state = state; };

  function plain(sentence, withPicture) {
    say("plain");
    $("picture").hidden = $("tools").hidden = true;
    $("plain").hidden = false;
    $("message").textContent = sentence;
    const still = $("still");
    if (withPicture) still.src = still.dataset.src; else still.hidden = $("share").hidden = true;
  }

  // The proxy's own sentence, if it has one.
  async function reason() {
    try {
      const answer = await fetch(body.dataset.info, { headers: { Accept: "application/json" } });
      if (!answer.ok) return (await answer.json()).error;
    } catch { /* the next sentence will do */ }
    return "This image could not be opened.";
  }

  if (!window.OpenSeadragon) {
    plain("The viewer is not installed here, so this image does not zoom.", true);
    return;
  }

  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const viewer = OpenSeadragon({
    element: $("picture"),
    tileSources: body.dataset.info,
    crossOriginPolicy: "Anonymous",
    showNavigationControl: false,
    showNavigator: matchMedia("(min-width: 40rem)").matches,
    navigatorPosition: "TOP_RIGHT",
    navigatorSizeRatio: 0.14,
    animationTime: still ? 0 : 0.7,
    maxZoomPixelRatio: 4,
    visibilityRatio: 0.4,
    gestureSettingsTouch: { pinchRotate: true },
  });
  const view = viewer.viewport;

  const turn = (degrees) => view.setRotation(view.getRotation() + (view.getFlip() ? -degrees : degrees));
  const actions = {
    in: () => view.zoomBy(1.6).applyConstraints(),
    out: () => view.zoomBy(1 / 1.6).applyConstraints(),
    home: () => { view.setRotation(0); view.setFlip(false); view.goHome(); },
    left: () => turn(-90),
    right: () => turn(90),
    flip: () => view.toggleFlip(),
    gray: () => {
      const gray = body.classList.toggle("gray");
      $("gray").setAttribute("aria-pressed", String(gray));
      soon();
    },
    full: () => (document.fullscreenElement ? document.exitFullscreen() : $("picture").parentElement.requestFullscreen()),
  };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);
  if (!document.fullscreenEnabled) $("full").hidden = true;
  document.addEventListener("fullscreenchange", () => {
    $("full").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
  });

  // IIIF mirrors first and then turns; OpenSeadragon turns first: so a mirrored turn goes the other way.
  function address(image) {
    const { x: width, y: height } = image.getContentSize();
    const seen = view.viewportToImageRectangle(view.getBounds(true)).getBoundingBox();
    const left = Math.max(0, Math.round(seen.x)), top = Math.max(0, Math.round(seen.y));
    const right = Math.min(width, Math.round(seen.x + seen.width));
    const bottom = Math.min(height, Math.round(seen.y + seen.height));
    if (right <= left || bottom <= top) return null;
    const all = left === 0 && top === 0 && right === width && bottom === height;
    const region = all ? "full" : [left, top, right - left, bottom - top].join(",");
    const scale = Math.min(1, view.viewportToImageZoom(view.getZoom(true)) * devicePixelRatio);
    const size = scale === 1 ? "max" : "!" + [right - left, bottom - top].map((n) => Math.max(1, Math.round(n * scale))).join(",");
    const flipped = view.getFlip();
    const degrees = (((flipped ? -1 : 1) * view.getRotation()) % 360 + 360) % 360;
    const base = body.dataset.info.replace(/\/info\.json$/, "");
    return `${base}/${region}/${size}/${flipped ? "!" : ""}${+degrees.toFixed(2)}/${body.classList.contains("gray") ? "gray" : "default"}.jpg`;
  }

  let due = 0;
  function update() {
    due = 0;
    const image = viewer.world.getItemAt(0);
    const found = image && address(image);
    if (!found) return;
    $("address").value = $("open").href = found;
    $("flip").setAttribute("aria-pressed", String(view.getFlip()));
    const { x, y } = image.getContentSize();
    const percent = view.viewportToImageZoom(view.getZoom(true)) * 100;
    $("facts").textContent = `${x} × ${y} · ${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
  }
  const soon = () => { due ||= requestAnimationFrame(update); };

  viewer.addHandler("open", () => {
    $("tools").hidden = false;
    say("open");
    soon();
    document.dispatchEvent(new CustomEvent("iiif-open", { detail: viewer }));
    viewer.world.getItemAt(0).addHandler("fully-loaded-change", (event) => say(event.fullyLoaded ? "loaded" : "open"));
  });
  for (const event of ["animation", "rotate", "flip", "resize"]) viewer.addHandler(event, soon);
  viewer.addHandler("open-failed", async () => plain(await reason(), false));

  document.addEventListener("keydown", (event) => {
    if (event.key === "g" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest("input, select, textarea")) actions.gray();
  });

  $("copy").addEventListener("click", async () => {
    const field = $("address");
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      field.select();
      document.execCommand("copy");
    }
    $("said").textContent = $("copy").textContent = "Copied";
    setTimeout(() => { $("copy").textContent = "Copy"; $("said").textContent = ""; }, 1500);
  });
  $("address").addEventListener("focus", (event) => event.target.select());
})();
