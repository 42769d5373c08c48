"""How a browser shows the page."""

import base64

import pytest
from PIL import Image

from runners.reporting.report import report
from runners.run_dir import RunDir
from tests.helpers import browser
from tests.helpers.reports import hostile

pytestmark = pytest.mark.slow

RECORD = """
return (async () => {
  const canvas = document.createElement("canvas"), chunks = [];
  canvas.width = canvas.height = 64;
  const pen = canvas.getContext("2d");
  const type = ["video/mp4", "video/webm"].find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(canvas.captureStream(20), {mimeType: type});
  recorder.ondataavailable = (event) => chunks.push(event.data);
  const stopped = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  for (let i = 0; i < 10; i++) {
    pen.fillStyle = `hsl(${36 * i}, 80%, 50%)`;
    pen.fillRect(0, 0, 64, 64);
    await new Promise((done) => setTimeout(done, 30));
  }
  recorder.stop();
  await stopped;
  const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
  return [type, btoa(String.fromCharCode(...bytes))];
})();
"""


STATE = """
return (async () => {
  const videos = [...document.querySelectorAll("video")];
  for (const video of videos) await video.play();
  return {
    title: document.title,
    pictures: [...document.images].map((image) => [image.complete, image.naturalWidth]),
    variants: [...document.images].filter((image) => image.currentSrc !== image.src).length,
    videos: videos.map((video) => [video.error && video.error.message, video.readyState]),
    width: [document.documentElement.scrollWidth, innerWidth],
    ground: getComputedStyle(document.body).backgroundColor,
    outside: [...document.querySelectorAll("h1, h2, p, dl, figure, pre, .scroll")].filter(
      (element) => element.getBoundingClientRect().right > innerWidth).length,
    hidden: [...document.querySelectorAll(".scroll")].filter(
      (box) => box.scrollWidth > box.clientWidth
               && !["auto", "scroll"].includes(getComputedStyle(box).overflowX)).length,
  };
})();
"""


@pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER), reason="needs Chromium and chromedriver"
)
def test_in_a_browser(runs, tmp_path):
    """Nothing is fetched or complained of, all is shown, and a phone shows it without scrolling."""
    seeds = [RunDir(runs / "navigation" / f"seed-{seed}") for seed in (0, 1)]
    videos = seeds[0].path / "videos"
    videos.mkdir()
    Image.new("RGB", (64, 64), "red").save(videos / "before.gif")
    sinusoid = RunDir(runs / "sinusoid")
    hostile(sinusoid)
    with browser.chromium(tmp_path / "profile") as shown:
        blank = tmp_path / "blank.html"
        blank.write_text("<!doctype html><title>blank</title>")
        shown.open(blank)
        kind, clip = shown.run(RECORD)
        (videos / f"after.{kind.partition('/')[2]}").write_bytes(base64.b64decode(clip))
        shown.requests(), shown.console()
        for folders, pictured in ((seeds, 4), ([sinusoid], 3)):
            page = report(tuple(folder.path for folder in folders), quiet=True).path
            for width in (1280, 390):
                for dark in (False, True):
                    shown.open(page, width=width, dark=dark)
                    state = shown.run(STATE)
                    assert shown.console() == []
                    assert [url for url in shown.requests() if not url.startswith("data:")] == [
                        page.as_uri()
                    ]
                    assert len(state["pictures"]) == pictured
                    assert all(done and size > 0 for done, size in state["pictures"])
                    assert state["width"] == [width, width]
                    assert state["outside"] == state["hidden"] == 0
                    assert state["ground"] == ("rgb(20, 24, 28)" if dark else "rgb(253, 252, 250)")
                    # The phone's and the dark variant are other sources than the image's own.
                    others = 3 if dark or width == 390 else 0
                    assert state["variants"] == others
                    for error, ready in state["videos"]:
                        assert error is None
                        assert ready >= 2
            assert len(state["videos"]) == (pictured == 4)
            assert state["title"].endswith("– rlmaml")
