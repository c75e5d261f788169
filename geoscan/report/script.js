"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const motion = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const NUMBERED = 24;
  const maps = new Map();

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // What a click on a detection shows: its close-ups where there are some, and its row of the table.
  function numbersOf(number) {
    const box = element("div");
    box.append(element("h4", `Detection ${number}`));
    const pair = document.querySelector(`#detection-${number} .pair`);
    if (pair) box.append(pair.cloneNode(true));
    const list = element("dl");
    const row = document.querySelector(`tr[data-row="${number}"]`);
    const heads = row.closest("table").querySelectorAll("thead th");
    [...row.cells].slice(1).forEach((cell, n) => {
      if (!cell.textContent.trim()) return;
      const line = element("div");
      line.append(element("dt", heads[n + 1].textContent), element("dd", cell.textContent));
      list.append(line);
    });
    box.append(list);
    return box;
  }

  // Tells how a place was seen by the colour that the map has there.
  function sightReader(image, scene) {
    if (!image) return () => 0;
    const picture = new Image();
    picture.src = image.getAttribute("href");
    return (row, col) => {
      const canvas = element("canvas");
      canvas.width = canvas.height = 1;
      const pen = canvas.getContext("2d");
      const x = Math.floor((col / scene.cols) * picture.naturalWidth);
      const y = Math.floor((row / scene.rows) * picture.naturalHeight);
      pen.drawImage(picture, -x, -y);
      const [red, green, blue, opacity] = pen.getImageData(0, 0, 1, 1).data;
      if (!opacity) return 0;
      const away = ({ colour }) => Math.hypot(colour[0] - red, colour[1] - green, colour[2] - blue);
      return data.sights.reduce((best, one, n) => (n && away(one) < away(data.sights[best]) ? n : best), 1);
    };
  }

  function latLngs(rings) {
    return rings.map((ring) => ring.map(([col, row]) => [-row, col]));
  }

  function addDetections(map, scene) {
    const group = L.layerGroup();
    const shapes = new Map();
    L.polygon(scene.detections.map((one) => latLngs(one.rings)), { className: "casing", interactive: false }).addTo(group);
    for (const { number, rings } of scene.detections) {
      const shape = L.polygon(latLngs(rings), { className: "outline" }).addTo(group);
      shapes.set(number, shape);
      if (number <= NUMBERED) {
        shape.bindTooltip(String(number), { permanent: true, direction: "top", className: "number", offset: [0, 4] });
      }
      shape.bindPopup(() => numbersOf(number), { minWidth: 230, maxWidth: 280, maxHeight: Math.max(180, map.getSize().y * 0.45) });
      shape.on("add", () => {
        const path = shape.getElement();
        path.setAttribute("tabindex", "0");
        path.setAttribute("role", "button");
        path.setAttribute("aria-label", `Detection ${number}: zoom and show its numbers`);
      });
    }
    return { group: group.addTo(map), shapes };
  }

  function zoomTo(map, shape) {
    map.once("moveend", () => shape.openPopup(shape.getBounds().getCenter()));
    map.fitBounds(shape.getBounds().pad(0.75), { animate: false, maxZoom: Math.max(map.getZoom() + 1, 1.5) });
  }

  function listen(map, box, shapes) {
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") map.closePopup();
      if (event.key !== "Enter" && event.key !== " ") return;
      for (const shape of shapes.values()) {
        if (shape.getElement() !== event.target) continue;
        event.preventDefault();
        event.stopPropagation();
        zoomTo(map, shape);
      }
    }, true);
    map.on("popupopen", ({ popup }) => {
      const shown = popup.getElement();
      shown.setAttribute("role", "dialog");
      shown.setAttribute("aria-label", "What is here");
      shown.tabIndex = -1;
    });
    map.on("popupclose", ({ popup }) => {
      const path = popup._source && popup._source.getElement && popup._source.getElement();
      if (path && popup.getElement().contains(document.activeElement)) path.focus({ preventScroll: true });
    });
    // The wheel scrolls the page until the map is asked for.
    box.addEventListener("focusin", () => map.scrollWheelZoom.enable());
    box.addEventListener("focusout", () => map.scrollWheelZoom.disable());
  }

  function tellOfSight(map, scene, image) {
    const read = sightReader(image, scene);
    map.on("click", ({ latlng }) => {
      const [row, col] = [-latlng.lat, latlng.lng];
      if (row < 0 || col < 0 || row >= scene.rows || col >= scene.cols) return;
      const sight = read(row, col);
      const text = `${data.sights[sight].name}, no detection`;
      L.popup().setLatLng(latlng).setContent(element("p", text[0].toUpperCase() + text.slice(1))).openOn(map);
    });
  }

  function draw(box) {
    const index = Number(box.dataset.map);
    if (maps.has(index)) return maps.get(index);
    const scene = data.scenes[index];
    const still = byId(`still-${index}`);
    const distance = (one, other) => scene.gsd * Math.hypot(one.lat - other.lat, one.lng - other.lng);
    const bounds = L.latLngBounds([[-scene.rows, 0], [0, scene.cols]]);
    const map = L.map(box, {
      crs: L.Util.extend({}, L.CRS.Simple, { distance }),
      attributionControl: false, scrollWheelZoom: false, zoomSnap: 0.25, zoomDelta: 0.75, minZoom: -12, maxZoom: 3,
      maxBounds: bounds.pad(1), zoomAnimation: motion, fadeAnimation: motion, inertia: motion,
    }).fitBounds(bounds);
    map.setMinZoom(map.getZoom() - 1);
    L.control.scale({ imperial: false }).addTo(map);
    L.rectangle(bounds, { color: "#888", weight: 1, fill: false, interactive: false }).addTo(map);
    const [above, sights] = ["above", "sights"].map((name) => still.querySelector(`image.${name}`));
    if (above) L.imageOverlay(above.getAttribute("href"), bounds, { className: "above", alt: "" }).addTo(map);
    const layers = {};
    if (sights) {
      layers["how it was seen"] = L.imageOverlay(sights.getAttribute("href"), bounds, { className: "sights", alt: "" }).addTo(map);
    }
    const { group, shapes } = addDetections(map, scene);
    layers.detections = group;
    L.control.layers({}, layers, { collapsed: false }).addTo(map);
    listen(map, box, shapes);
    tellOfSight(map, scene, sights);
    maps.set(index, { map, shapes });
    return maps.get(index);
  }

  function showOnMap(event) {
    const link = event.target.closest("a.show");
    if (!link) return;
    event.preventDefault();
    const box = document.querySelector(`.map[data-map="${link.dataset.map}"]`);
    const { map, shapes } = draw(box);
    const shape = shapes.get(Number(link.dataset.number));
    box.scrollIntoView({ block: "center" });
    zoomTo(map, shape);
    shape.getElement().focus({ preventScroll: true });
  }

  document.documentElement.classList.add("js");
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target));
  }, { rootMargin: "300px" });
  document.querySelectorAll(".map").forEach((box) => seen.observe(box));
  document.addEventListener("click", showOnMap);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    opened.forEach((one) => { one.open = true; });
    document.querySelectorAll("img[loading]").forEach((image) => image.removeAttribute("loading"));
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
})();
