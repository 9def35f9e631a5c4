// The stage: mesh and Gaussians side by side under one camera. Options may be given in the page's address, as
// #azimuth=30&elevation=15&zoom=1&show=both|mesh|splats&look=texture|clay|normals&light=1&edges=1&turn=1&ground=white&bare=1
"use strict";

const GROUNDS = ["page", "white", "black"];
const LOOKS = { texture: 0, clay: 1, normals: 2 };
const radians = (degrees) => degrees * Math.PI / 180;

// The bytes of a part: in the page as base64, or at an address of the local server
async function partBytes(element) {
  if (element.dataset.source) {
    const answer = await fetch(element.dataset.source);
    if (!answer.ok) throw new Error(`${element.dataset.source}: ${answer.status}`);
    return answer.arrayBuffer();
  }
  return Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0)).buffer;
}

class Stage {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    const { fov, distance, elevation, light } = root.dataset;
    this.home = { fov: Number(fov), distance: Number(distance), elevation: Number(elevation), azimuth: 0, zoom: 1 };
    this.start = { show: "both", look: "texture", light: light === "1", edges: false, turn: false, ground: "page", bare: false };
    this.state = { ...this.start };
    this.renderer = new THREE.WebGLRenderer({ canvas: this.canvas, antialias: true, alpha: true });
    this.renderer.toneMapping = THREE.NoToneMapping;
    this.renderer.setScissorTest(true);
    this.camera = new THREE.PerspectiveCamera(this.home.fov, 1, 0.01, 100);
    this.controls = new THREE.OrbitControls(this.camera, this.canvas);
    Object.assign(this.controls, { dampingFactor: 0.12, minDistance: 0.2, maxDistance: 30, autoRotateSpeed: -6, zoomToCursor: false });
    this.controls.addEventListener("change", () => { this.dirty = true; });
    this.dirty = true;
    this.panes = [];
  }

  async load() {
    const parts = Object.fromEntries([...this.root.querySelectorAll("[data-part]")].map((e) => [e.dataset.part, e]));
    if (parts.mesh) {
      const bytes = await partBytes(parts.mesh);
      this.model = await loadModel(bytes);
      this.model.bringHome(parts.mesh.dataset.place.split(" ").map(Number));
      this.scene = new THREE.Scene().add(this.model.object);
      this.scene.environmentIntensity = 0.65;
      this.start.light ||= this.model.shaded;
      this.panes.push({ name: "mesh", title: `Mesh · ${parts.mesh.dataset.label}` });
      this.offer(parts.mesh, bytes);
    }
    if (parts.splats) {
      this.cloud = new SplatCloud(await partBytes(parts.splats), this.renderer.capabilities.maxTextureSize);
      this.cloudScene = new THREE.Scene().add(this.cloud.object);
      this.panes.push({ name: "splats", title: `Splats · ${parts.splats.dataset.label}` });
    }
  }

  // A link that saves the mesh which is inside the page
  offer(part, bytes) {
    const link = document.querySelector("[data-save]");
    if (!link || part.dataset.source) return;
    link.hidden = false;
    link.addEventListener("click", () => {
      link.href = URL.createObjectURL(new Blob([bytes], { type: "model/gltf-binary" }));
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }

  place({ azimuth, elevation, zoom }) {
    const spherical = new THREE.Spherical(this.home.distance / zoom, radians(90 - elevation), radians(azimuth));
    spherical.makeSafe();
    this.controls.enableDamping = false;
    this.controls.update();  // makes what is left of the last movement, and forgets it
    this.controls.target.set(0, 0, 0);
    this.camera.position.setFromSpherical(spherical);
    this.controls.update();
    this.controls.enableDamping = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.dirty = true;
  }

  orbit(left, up, nearer) {
    const away = this.camera.position.clone().sub(this.controls.target), spherical = new THREE.Spherical().setFromVector3(away);
    spherical.theta -= radians(left);
    spherical.phi -= radians(up);
    spherical.radius = Math.min(30, Math.max(0.2, spherical.radius / nearer));
    spherical.makeSafe();
    this.camera.position.copy(this.controls.target).add(new THREE.Vector3().setFromSpherical(spherical));
  }

  set(changes) {
    Object.assign(this.state, changes);
    const { show, look, light, edges, turn, ground, bare } = this.state;
    const shown = this.panes.filter((pane) => show === "both" || show === pane.name);
    this.shown = shown.length ? shown : this.panes;
    this.controls.autoRotate = turn;
    this.root.dataset.ground = ground;
    document.documentElement.classList.toggle("bare", bare);
    const dark = ground === "black" || ground === "page" && matchMedia("(prefers-color-scheme: dark)").matches;
    if (this.model) {
      const name = look === "texture" ? (light ? "lit" : "plain") : look;
      if ((name === "lit" || name === "clay") && !this.scene.environment) this.scene.environment = this.room();
      this.model.show(name, edges, look !== "texture" || !dark ? 0x10161c : 0xf2f2f2);
    }
    if (this.cloud) {
      this.cloud.material.uniforms.look.value = LOOKS[look];
      this.cloud.material.uniforms.rings.value = edges;
    }
    for (const pane of this.panes) this.root.querySelector(`[data-title=${pane.name}]`).textContent = pane.title;
    this.layOut();
    this.onstate?.(this.state);
  }

  room() {
    const generator = new THREE.PMREMGenerator(this.renderer);
    const texture = generator.fromScene(new THREE.RoomEnvironment(), 0.04).texture;
    generator.dispose();
    return texture;
  }

  layOut() {
    const { clientWidth: width, clientHeight: height } = this.canvas, count = this.shown.length, wide = width >= height;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    this.root.dataset.flow = wide ? "row" : "column";
    for (const pane of this.panes) this.root.querySelector(`[data-title=${pane.name}]`).hidden = !this.shown.includes(pane);
    this.shown.forEach((pane, i) => {
      const w = wide ? width / count : width, h = wide ? height : height / count;
      pane.box = [wide ? i * w : 0, wide ? 0 : (count - 1 - i) * h, w, h];
    });
    const [, , w, h] = this.shown[0].box;
    this.camera.aspect = w / h;
    this.camera.fov = 2 * Math.atan(Math.tan(radians(this.home.fov / 2)) / Math.min(1, w / h)) / radians(1);
    this.camera.updateProjectionMatrix();
    this.dirty = true;
  }

  draw() {
    this.camera.updateMatrixWorld();
    const ratio = this.renderer.getPixelRatio();
    for (const pane of this.shown) {
      const [, , w, h] = pane.box;
      this.renderer.setViewport(...pane.box);
      this.renderer.setScissor(...pane.box);
      if (pane.name === "splats") this.cloud.prepare(this.camera, w * ratio, h * ratio);
      this.renderer.render(pane.name === "splats" ? this.cloudScene : this.scene, this.camera);
    }
  }

  run() {
    let before = performance.now();
    const frame = (now) => {
      this.controls.update(Math.min(now - before, 100) / 1000);
      before = now;
      if (this.dirty) this.draw();
      this.dirty = false;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }
}
