// Binds the stage to the page: buttons, keys, the address, sizes and colour schemes.
"use strict";

const KEYS = {
  w: (s) => ({ edges: !s.edges }), l: (s) => ({ light: !s.light }), " ": (s) => ({ turn: !s.turn }),
  t: (s) => ({ look: s.look === "texture" ? "clay" : "texture" }),
  n: (s) => ({ look: s.look === "normals" ? "texture" : "normals" }),
  1: () => ({ show: "both" }), 2: () => ({ show: "mesh" }), 3: () => ({ show: "splats" }),
  b: (s) => ({ ground: GROUNDS[(GROUNDS.indexOf(s.ground) + 1) % GROUNDS.length] }),
};
const MOVES = {
  ArrowLeft: [-10, 0, 1], ArrowRight: [10, 0, 1], ArrowUp: [0, 10, 1], ArrowDown: [0, -10, 1],
  "+": [0, 0, 1.15], "=": [0, 0, 1.15], "-": [0, 0, 1 / 1.15], _: [0, 0, 1 / 1.15],
};

function fromAddress(stage) {
  const wanted = new URLSearchParams(location.hash.slice(1)), view = { ...stage.home }, changes = { ...stage.start };
  for (const name of ["azimuth", "elevation", "zoom"]) {
    const value = Number(wanted.get(name));
    if (wanted.has(name) && Number.isFinite(value)) view[name] = value;
  }
  for (const name of ["light", "edges", "turn", "bare"]) if (wanted.has(name)) changes[name] = wanted.get(name) === "1";
  if (["both", "mesh", "splats"].includes(wanted.get("show"))) changes.show = wanted.get("show");
  if (wanted.get("look") in LOOKS) changes.look = wanted.get("look");
  if (GROUNDS.includes(wanted.get("ground"))) changes.ground = wanted.get("ground");
  stage.set(changes);
  stage.place({ ...view, zoom: Math.min(20, Math.max(0.05, view.zoom)) });
}

function act(stage, name, value) {
  if (name === "home") stage.place(stage.home);
  else if (name === "full") document.fullscreenElement ? document.exitFullscreen() : stage.root.requestFullscreen?.();
  else if (name === "ground") stage.set(KEYS.b(stage.state));
  else stage.set({ [name]: value ?? !stage.state[name] });
}

function bind(stage) {
  const buttons = [...stage.root.querySelectorAll("button[data-set]")];
  for (const button of buttons) button.addEventListener("click", () => act(stage, button.dataset.set, button.dataset.value));
  stage.onstate = (state) => {
    for (const button of buttons) {
      const { set, value } = button.dataset;
      if (set in state && set !== "ground") button.ariaPressed = String(value === undefined ? state[set] : state[set] === value);
      if (set === "light") button.disabled = !stage.model || state.look !== "texture";
      if (set === "show") button.hidden = stage.panes.length < 2;
    }
  };
  const canvas = stage.canvas;
  const wake = () => { stage.controls.enableZoom = true; };
  canvas.addEventListener("pointerdown", () => { wake(); canvas.focus({ preventScroll: true }); }, true);
  canvas.addEventListener("focus", wake);
  canvas.addEventListener("blur", () => { stage.controls.enableZoom = Boolean(document.fullscreenElement); });
  stage.controls.enableZoom = false;  // until it is clicked, the wheel scrolls the page
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, a, summary")) return;
    if (event.target.closest("button") && event.key === " ") return;
    if (event.key in MOVES && document.activeElement === canvas) stage.orbit(...MOVES[event.key]);
    else if (event.key in KEYS) stage.set(KEYS[event.key](stage.state));
    else if (event.key === "f" || event.key === "r") act(stage, event.key === "f" ? "full" : "home");
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => stage.layOut()).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => stage.set({}));
  addEventListener("hashchange", () => fromAddress(stage));
}

(async () => {
  const root = document.getElementById("stage"), page = document.documentElement;
  if (!root) return;
  try {
    const stage = new Stage(root);
    await stage.load();
    root.classList.add("live");
    bind(stage);
    fromAddress(stage);
    stage.run();
    requestAnimationFrame(() => requestAnimationFrame(() => { page.dataset.viewer = "ready"; }));
  } catch (error) {
    console.error(error);
    page.dataset.viewer = "failed";
    root.querySelector(".status").textContent = `This browser cannot show the viewer (${error.message}).`;
  }
})();
