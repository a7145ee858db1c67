"use strict";
// OpenSeadragon adds a <style> of one rule (no outline on touch screens) unless it finds it there,
// and our policy allows no inline style: this stands for it, the rule is in view.css.
(() => {
  const there = document.createElementNS("urn:iiif-proxy", "style");
  there.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(there);
})();
