"use strict";
// Two images that move as one: side by side, or one behind a curtain.
(() => {
  const { body } = document;
  const $ = (id) => document.getElementById(id);
  if (!window.OpenSeadragon) {
    body.dataset.state = "plain";
    $("message").textContent = "The viewer is not installed here, so images cannot be compared.";
    return;
  }
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const make = (id, info) => OpenSeadragon({
    element: $(id), tileSources: info, crossOriginPolicy: "Anonymous", showNavigationControl: false,
    animationTime: still ? 0 : 0.5, maxZoomPixelRatio: 8, visibilityRatio: 0.2, gestureSettingsTouch: { pinchRotate: true },
  });
  const viewers = [make("first", body.dataset.info), make("second", body.dataset.info2)];

  // Both are one wide in their own coordinates: the same centre and zoom show the same part.
  let together = true, following = false, opened = 0;
  function follow(leader) {
    if (!together || following || opened < 2) return;
    following = true;
    const other = viewers[1 - viewers.indexOf(leader)], { viewport: from } = leader, { viewport: to } = other;
    to.zoomTo(from.getZoom(), null, still);
    to.panTo(from.getCenter(), still);
    to.setRotation(from.getRotation(), true);
    following = false;
  }
  const beside = () => $("both").classList.contains("beside");
  viewers.forEach((viewer) => {
    viewer._showMessage = () => {}; // Ours says more.
    for (const event of ["zoom", "pan", "rotate"]) viewer.addHandler(event, () => follow(viewer));
    viewer.addHandler("open", () => { if (++opened === 2) { body.dataset.state = "open"; follow(viewers[0]); } });
    viewer.addHandler("open-failed", async () => {
      body.dataset.state = "plain";
      $("both").classList.add("failed");
      const info = viewer === viewers[0] ? body.dataset.info : body.dataset.info2;
      try {
        $("message").textContent = (await (await fetch(info, { headers: { Accept: "application/json" } })).json()).error;
      } catch { $("message").textContent = "One of the images could not be opened."; }
    });
  });

  function cut() { $("second").style.clipPath = beside() ? "none" : `inset(0 0 0 ${$("share").value}%)`; }
  function show(side) {
    $("both").classList.toggle("beside", side);
    $("slider").hidden = side;
    $("beside").setAttribute("aria-pressed", String(side));
    $("curtain").setAttribute("aria-pressed", String(!side));
    cut();
    for (const viewer of viewers) viewer.forceResize();
    setTimeout(() => follow(viewers[0]), 50);
    if (!side) $("share").focus({ preventScroll: true });
  }
  $("beside").addEventListener("click", () => show(true));
  $("curtain").addEventListener("click", () => show(false));
  $("share").addEventListener("input", cut);
  $("home").addEventListener("click", () => { viewers[0].viewport.setRotation(0, true); viewers[0].viewport.goHome(); });
  $("apart").addEventListener("click", () => {
    together = !together;
    $("apart").setAttribute("aria-pressed", String(!together));
    follow(viewers[0]);
  });
})();
