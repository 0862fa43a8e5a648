"""A page on which three.js opens a .glb in a browser without a window, for tests of what other people's viewers see.

three.js does not come with the project: H2O_THREE_JS names the folder of its npm package (`npm pack three`, unpacked).
"""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
THREE = Path(os.environ.get("H2O_THREE_JS") or "/nonexistent")
LOADER = THREE / "examples" / "jsm" / "loaders" / "GLTFLoader.js"
LACKING = (
    "Chromium is not installed: nothing to run three.js in"
    if not BROWSER
    else ""
    if LOADER.is_file()
    else "H2O_THREE_JS names no folder of three.js"
)
_PAGE = """<!doctype html><body style="margin:0"><script type="importmap">
{"imports": {"three": "THREE/build/three.module.js", "three/addons/": "THREE/examples/jsm/"}}</script>
<script type="module">
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
const bytes = Uint8Array.from(atob("DATA"), (letter) => letter.charCodeAt(0));
const said = {};
try {
  const gltf = await new GLTFLoader().parseAsync(bytes.buffer, "");
  const { scene, animations } = gltf;
  SCRIPT
} catch (error) { said.error = String(error); }
document.body.dataset.said = JSON.stringify(said);
</script>"""


def ask_three(glb: bytes, script: str, folder: Path, screenshot: Path | None = None) -> dict[str, Any]:
    """What JavaScript that sees THREE, scene and animations of the file puts into `said`; the page lies in `folder`.

    With a `screenshot` the page is drawn into that .png of 640 x 480 px, and nothing is said.
    """
    page = folder / "page.html"
    text = _PAGE.replace("THREE/", f"{THREE.resolve().as_uri()}/").replace("DATA", base64.b64encode(glb).decode())
    page.write_text(text.replace("SCRIPT", script))
    options = ["--headless", "--no-sandbox", "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}"]
    options += ["--enable-unsafe-swiftshader", "--virtual-time-budget=20000"]
    options += ["--dump-dom"] if screenshot is None else [f"--screenshot={screenshot}", "--window-size=640,480"]
    run = subprocess.run([BROWSER, *options, page.as_uri()], capture_output=True, text=True, timeout=180)
    if screenshot is not None:
        return {}
    found = re.search(r'data-said="([^"]*)"', run.stdout)
    assert found, run.stderr[-2000:]
    return json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))
